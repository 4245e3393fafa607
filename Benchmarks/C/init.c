// The first process of the guests that are booted for time: says on the console that it is there, and waits.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

int main(void) {
    static const char line[] = "GUEST-INIT\n";
    // An initial RAM disk gives a console to its first process; a disk without device files does not.
    if (write(STDOUT_FILENO, line, sizeof line - 1) < 0 && mount("dev", "/dev", "devtmpfs", 0, "") == 0) {
        int console = open("/dev/console", O_WRONLY);
        if (console < 0 || write(console, line, sizeof line - 1) < 0) {
            return 1;
        }
    }
    for (;;) {
        pause();
    }
}
