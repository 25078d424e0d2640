# A "guest kernel" that cannot run: its stub pages are empty, so that its first trap has nowhere to go.
    .globl _start
    .text
_start:
    ud2
