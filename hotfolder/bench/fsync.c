/* Counts the calls by which a process makes its files durable, and delays each of them.
 *
 * Loaded before the C library (LD_PRELOAD), so that the calls of all other libraries, SQLite's too, come through here.
 * HOTFOLDER_FSYNC_COUNTS names a file of three counters of 8 bytes: fsync, fdatasync, syncfs.
 * HOTFOLDER_FSYNC_DELAY_US is how long each call takes in addition, in microseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned long long spare[3], *counts = spare;
static struct timespec delay;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HOTFOLDER_FSYNC_COUNTS"), *wait = getenv("HOTFOLDER_FSYNC_DELAY_US");
    long long microseconds = wait ? atoll(wait) : 0;
    delay.tv_sec = microseconds / 1000000;
    delay.tv_nsec = microseconds % 1000000 * 1000;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *shared = mmap(NULL, sizeof spare, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED)
        counts = shared;
    close(file);
}

static int counted(int which, long number, int handle)
{
    atomic_fetch_add(&counts[which], 1);
    int result = (int)syscall(number, handle), error = errno;
    if (delay.tv_sec || delay.tv_nsec) {
        struct timespec left = delay;
        while (nanosleep(&left, &left) && errno == EINTR)
            ;
    }
    errno = error;
    return result;
}

int fsync(int handle) { return counted(0, SYS_fsync, handle); }
int fdatasync(int handle) { return counted(1, SYS_fdatasync, handle); }
int syncfs(int handle) { return counted(2, SYS_syncfs, handle); }
