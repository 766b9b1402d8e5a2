/* Runs a DHCP client and prints what it took: microseconds until an interface had an IPv4 address,
   until the client had ended, and of CPU; KiB of its largest process; its wait status.

   It is small, since a process is said to have needed as much memory as the one that started it.
   What a client leaves running is ended, and counts too. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 30000 };

static long long now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static int addresses(void)
{
    struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
    int news = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (news < 0 || bind(news, (struct sockaddr *)&groups, sizeof groups))
        exit(1);
    return news;
}

static pid_t start(char **command)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    execvp(command[0], command);
    _exit(127);
}

static int says_new_address(int news)
{
    struct { struct nlmsghdr header; char rest[8192]; } message;
    return recv(news, &message, sizeof message, 0) > 0 && message.header.nlmsg_type == RTM_NEWADDR;
}

/* Ends what now has this process for its parent. */
static void end_rest(void)
{
    FILE *children = fopen("/proc/thread-self/children", "r");
    int pid;
    while (children && fscanf(children, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    if (children)
        fclose(children);
}

int main(int count, char **arguments)
{
    int status, other, news = addresses();
    struct rusage used, more;
    long long address_at = 0, began_at = now_us();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t client = start(arguments + 1);
    int end = syscall(SYS_pidfd_open, client, 0);
    struct pollfd waits[] = {{.fd = news, .events = POLLIN}, {.fd = end, .events = POLLIN}};
    while (!waits[1].revents) {
        if (count < 2 || end < 0 || poll(waits, 2, LIMIT_MS) <= 0) {
            end_rest();
            return 1;
        }
        if (waits[0].revents && says_new_address(news) && !address_at)
            address_at = now_us();
    }
    long long ended_at = now_us();
    wait4(client, &status, 0, &used);
    do
        end_rest();
    while (wait3(&other, 0, &more) > 0);
    getrusage(RUSAGE_CHILDREN, &used);
    long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec
        + used.ru_stime.tv_usec;
    printf("%lld %lld %lld %ld %d\n", address_at ? address_at - began_at : -1, ended_at - began_at, cpu,
        used.ru_maxrss, status);
    return 0;
}
