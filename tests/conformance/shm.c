// System V shared memory: found by key, seen by a child, removed with its last mapping.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    key_t key = 0x56000000 | (getpid() & 0xffff);
    printf("none %d", shmget(key, 4096, 0600));
    printf(" %d\n", errno);
    int id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0640);
    printf("made %d\n", id >= 0);
    printf("again %d", shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0640));
    printf(" %d\n", errno);
    printf("larger %d", shmget(key, 20000, 0));
    printf(" %d\n", errno);
    printf("found %d\n", shmget(key, 5000, 0) == id);
    printf("empty %d", shmget(key + 1, 0, IPC_CREAT));
    printf(" %d\n", errno);

    char *here = shmat(id, NULL, 0);
    printf("zeros %d\n", here[0] == 0 && here[9999] == 0);
    strcpy(here + 5000, "from the parent");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char *there = shmat(id, NULL, SHM_RDONLY);
        printf("child reads %s\n", there + 5000);
        fflush(stdout);
        strcpy(here + 5000, "from the child");
        _exit(shmdt(there) == 0 ? 3 : 4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("child %d, now %s\n", WEXITSTATUS(status), here + 5000);

    struct shmid_ds about;
    printf("stat %d\n", shmctl(id, IPC_STAT, &about));
    printf("size %zu mappings %d mode %o mine %d\n", about.shm_segsz, (int)about.shm_nattch,
           about.shm_perm.mode, about.shm_cpid == getpid());
    struct shm_info use;
    struct shminfo limits;
    printf("in use %d", shmctl(0, SHM_INFO, (void *)&use) >= 0 && use.used_ids >= 1 && use.shm_tot >= 3);
    printf(" limits %d", shmctl(0, IPC_INFO, (void *)&limits) >= 0);
    printf(" least %lu segments %lu\n", limits.shmmin, limits.shmmni);
    struct shmid_ds placed;
    int last = shmctl(0, SHM_INFO, (void *)&use), found = 0, any = 0;
    for (int place = 0; place <= last; place++) {
        if (shmctl(place, SHM_STAT, &placed) == id)
            found += placed.shm_segsz == 10000 && placed.shm_nattch == about.shm_nattch;
        any += shmctl(place, SHM_STAT_ANY, &placed) == id;
    }
    printf("by place %d, of anybody %d", found, any);
    printf(" beyond %d", shmctl(32767, SHM_STAT, &placed));
    printf(" %d\n", errno);
    printf("remove %d\n", shmctl(id, IPC_RMID, NULL));
    printf("key free %d", shmget(key, 4096, 0));
    printf(" %d\n", errno);
    printf("still %s\n", here + 5000);
    char *second = shmat(id, NULL, 0);
    printf("second %d\n", strcmp(second + 5000, here + 5000));
    printf("unaligned %d", shmdt(here + 1));
    printf(" %d\n", errno);
    printf("detach %d\n", shmdt(second));
    printf("detach %d\n", shmdt(here));
    printf("detach %d", shmdt(here));
    printf(" %d\n", errno);
    printf("gone %d", shmat(id, NULL, 0) == (void *)-1);
    printf(" %d\n", errno);
    return 0;
}
