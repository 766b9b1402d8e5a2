/* A cable that takes time: delay NEAR NETNS FAR MICROSECONDS makes a TAP named NEAR here and one named
   FAR in the network namespace that the file NETNS is, and hands the frames of each to the other so
   much later. It loses what comes while QUEUE frames are under way. Says "ready" and runs on. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 4096, FRAME = 2048 };

struct way {
    int from, to;
    unsigned first, end;
    struct { long long due_ns; int len; unsigned char octets[FRAME]; } frames[QUEUE];
};

static struct way ways[2];

static void need(int went_well, const char *what)
{
    if (went_well)
        return;
    perror(what);
    exit(1);
}

static long long now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int tap(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int file = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    need(file >= 0, "/dev/net/tun");
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    need(ioctl(file, TUNSETIFF, &request) == 0, "TUNSETIFF");
    return file;
}

/* Takes what has come and hands on what is due; returns when the next is, or never: LLONG_MAX. */
static long long move(struct way *way, long long delay_ns)
{
    static unsigned char lost[FRAME];
    for (;;) {
        int full = way->end - way->first == QUEUE;
        unsigned char *octets = full ? lost : way->frames[way->end % QUEUE].octets;
        int len = read(way->from, octets, FRAME);
        if (len <= 0)
            break;
        if (full)
            continue;
        way->frames[way->end % QUEUE].len = len;
        way->frames[way->end++ % QUEUE].due_ns = now_ns() + delay_ns;
    }
    while (way->first != way->end) {
        unsigned at = way->first % QUEUE;
        if (way->frames[at].due_ns > now_ns())
            return way->frames[at].due_ns;
        /* A TAP that is down takes none: lost, as on a cable. */
        int taken = write(way->to, way->frames[at].octets, way->frames[at].len);
        (void)taken;
        way->first++;
    }
    return __LONG_LONG_MAX__;
}

int main(int count, char **arguments)
{
    need(count == 5, "usage: delay NEAR NETNS FAR MICROSECONDS");
    long long delay_ns = atoll(arguments[4]) * 1000;
    int near = tap(arguments[1]);
    int netns = open(arguments[2], O_RDONLY);
    need(netns >= 0 && setns(netns, CLONE_NEWNET) == 0, "setns");
    int far = tap(arguments[3]);
    prctl(PR_SET_TIMERSLACK, 1000);
    ways[0].from = ways[1].to = near;
    ways[0].to = ways[1].from = far;
    puts("ready");
    fflush(stdout);
    for (;;) {
        long long due = move(&ways[0], delay_ns), other = move(&ways[1], delay_ns);
        long long left = (due < other ? due : other) - now_ns();
        struct timespec wait = { left / 1000000000, left % 1000000000 };
        struct pollfd files[2] = { { near, POLLIN, 0 }, { far, POLLIN, 0 } };
        if (left > 0)
            ppoll(files, 2, left > 1000000000 ? NULL : &wait, NULL);
    }
}
