/* The least that takes a DHCP lease: canned packets, no check that a stranger could not pass, nothing
   sent again, an address and its mask. What it takes is what the kernel and the server take. */

#include <arpa/inet.h>
#include <netpacket/packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ETHERNET = 14, DHCP = ETHERNET + 20 + 8, OPTIONS = DHCP + 240, LEN = OPTIONS + 60 };

static unsigned char frame[LEN] = {
    /* to all */ 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 8, 0,
    /* IPv4 and UDP from 0.0.0.0:68 to 255.255.255.255:67, with the lengths of this array */
    0x45, 0, 1, 0x48, 0, 0, 0, 0, 64, 17, 0x79, 0xa6, 0, 0, 0, 0, 255, 255, 255, 255,
    0, 68, 0, 67, 1, 0x34, 0, 0,
    /* BOOTREQUEST over Ethernet with the transaction number 7 */ 1, 1, 6, 0, 0, 0, 0, 7,
};

static unsigned char reply[2048];

static int failed(int result)
{
    if (result < 0)
        _exit(1);
    return result;
}

/* Sends a message of this type and receives the reply of that type; its options begin with the type
   and the server, as dnsmasq puts them. */
static void exchange(int packets, int asked, int answered)
{
    static const unsigned char magic[] = {0x63, 0x82, 0x53, 0x63, 53, 1};
    memcpy(frame + OPTIONS - 4, magic, sizeof magic);
    frame[OPTIONS + 2] = asked;
    failed(write(packets, frame, LEN));
    do
        failed(read(packets, reply, sizeof reply));
    while (memcmp(reply + ETHERNET + 20, "\0\103\0\104", 4) || reply[OPTIONS + 2] != answered);
}

int main(int count, char **arguments)
{
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    struct sockaddr_ll link = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    int packets = failed(socket(AF_PACKET, SOCK_RAW, 0));
    strncpy(request.ifr_name, count > 1 ? arguments[1] : "", IFNAMSIZ - 1);
    failed(ioctl(packets, SIOCGIFHWADDR, &request));
    memcpy(frame + 6, request.ifr_hwaddr.sa_data, 6);
    memcpy(frame + DHCP + 28, request.ifr_hwaddr.sa_data, 6);
    failed(ioctl(packets, SIOCGIFINDEX, &request));
    link.sll_ifindex = request.ifr_ifindex;
    failed(bind(packets, (struct sockaddr *)&link, sizeof link));
    frame[OPTIONS + 3] = 255;
    exchange(packets, 1, 2);
    unsigned char *asked = frame + OPTIONS + 3;
    /* The address that is offered, and by whom. */
    memcpy(asked, "\62\4", 2);
    memcpy(asked + 2, reply + DHCP + 16, 4);
    memcpy(asked + 6, reply + OPTIONS + 3, 6);
    asked[12] = 255;
    exchange(packets, 3, 5);
    int inet = failed(socket(AF_INET, SOCK_DGRAM, 0));
    address->sin_family = AF_INET;
    memcpy(&address->sin_addr, reply + DHCP + 16, 4);
    failed(ioctl(inet, SIOCSIFADDR, &request));
    address->sin_addr.s_addr = htonl(0xffffff00);
    failed(ioctl(inet, SIOCSIFNETMASK, &request));
    return 0;
}
