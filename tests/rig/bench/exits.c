/*
 * exits present|asked COUNT: what a first touch costs a guest at least. A guest without a kernel touches COUNT pages; prints
 * the nanoseconds of each.
 *
 *   present  the host has the page already: the guest is left once, and KVM maps it
 *   asked    the page is missing: a second thread is asked through userfaultfd, and installs zeros
 */
#include "measure.h"
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, CODE = 0x1000, FIRST = 0x200000, SIZE = 256 << 20 };

/* mov byte [ebx], 1; add ebx, 4096; dec ecx; jnz back; hlt */
static const unsigned char TOUCH[] = {0xc6, 0x03, 0x01, 0x81, 0xc3, 0, 0x10, 0, 0, 0x49, 0x75, 0xf4, 0xf4};

static char *memory;
static int faults;

static void *answer(void *unused) {
    struct uffd_msg message;
    while (read(faults, &message, sizeof message) == sizeof message) {
        uint64_t page = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
        struct uffdio_zeropage zero = {.range = {page, PAGE}};
        must(ioctl(faults, UFFDIO_ZEROPAGE, &zero) == 0, "UFFDIO_ZEROPAGE");
    }
    return unused;
}

static void answer_faults(void) {
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register all = {.range = {(uintptr_t)memory + FIRST, SIZE - FIRST}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    pthread_t thread;
    faults = syscall(SYS_userfaultfd, O_CLOEXEC);
    must(faults >= 0, "userfaultfd");
    must(ioctl(faults, UFFDIO_API, &api) == 0, "UFFDIO_API");
    must(ioctl(faults, UFFDIO_REGISTER, &all) == 0, "UFFDIO_REGISTER");
    must(pthread_create(&thread, 0, answer, 0) == 0, "pthread_create");
}

/* A vCPU in protected mode with flat segments, about to touch `count` pages. */
static int make_vcpu(int kvm, int count) {
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    struct kvm_userspace_memory_region all = {.memory_size = SIZE, .userspace_addr = (uintptr_t)memory};
    must(vm >= 0 && ioctl(vm, KVM_SET_USER_MEMORY_REGION, &all) == 0, "KVM_SET_USER_MEMORY_REGION");
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    struct kvm_sregs special;
    must(vcpu >= 0 && ioctl(vcpu, KVM_GET_SREGS, &special) == 0, "KVM_GET_SREGS");
    struct kvm_segment flat = {.limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
    special.cs = flat;
    flat.selector = 16;
    flat.type = 3;
    special.ds = special.es = special.ss = special.fs = special.gs = flat;
    special.cr0 |= 1;
    must(ioctl(vcpu, KVM_SET_SREGS, &special) == 0, "KVM_SET_SREGS");
    struct kvm_regs registers = {.rip = CODE, .rflags = 2, .rbx = FIRST, .rcx = count};
    must(ioctl(vcpu, KVM_SET_REGS, &registers) == 0, "KVM_SET_REGS");
    return vcpu;
}

int main(int argc, char **argv) {
    int count = argc == 3 ? atoi(argv[2]) : 0, is_present = argc == 3 && strcmp(argv[1], "present") == 0;
    if (count < 1 || count > (SIZE - FIRST) / PAGE || (!is_present && strcmp(argv[1], "asked") != 0)) {
        fprintf(stderr, "usage: exits present|asked COUNT\n");
        return 2;
    }
    int kvm = open("/dev/kvm", O_RDWR), file = memfd_create("guest", 0);
    must(kvm >= 0, "/dev/kvm");
    must(file >= 0 && ftruncate(file, SIZE) == 0, "memfd");
    memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(memory != MAP_FAILED, "mmap");
    memcpy(memory + CODE, TOUCH, sizeof TOUCH);
    if (is_present)
        memset(memory + FIRST, 0, (size_t)count * PAGE);
    else
        answer_faults();
    int vcpu = make_vcpu(kvm, count);
    struct kvm_run *run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ, MAP_SHARED, vcpu, 0);
    must(run != MAP_FAILED, "mmap of kvm_run");
    double start = now_ns();
    must(ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT, "KVM_RUN to the end");
    printf("%.0f\n", (now_ns() - start) / count);
    return 0;
}
