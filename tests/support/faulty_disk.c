/* Preloaded into a process, has reads and writes of its Whisper files fail with EIO as long as the file exists that
   FAULTY_WHILE names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_faulty(int descriptor)
{
    const char *control = getenv("FAULTY_WHILE");
    char link[64], path[4096];
    ssize_t length;
    if (control == NULL || access(control, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path);
    return length > 4 && memcmp(path + length - 4, ".wsp", 4) == 0;
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        real = (ssize_t (*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");
    if (is_faulty(descriptor)) {
        errno = EIO;
        return -1;
    }
    return real(descriptor, bytes, count);
}

ssize_t read(int descriptor, void *bytes, size_t count)
{
    static ssize_t (*real)(int, void *, size_t);
    if (real == NULL)
        real = (ssize_t (*)(int, void *, size_t)) dlsym(RTLD_NEXT, "read");
    if (is_faulty(descriptor)) {
        errno = EIO;
        return -1;
    }
    return real(descriptor, bytes, count);
}
