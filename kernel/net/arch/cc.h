// What lwIP asks of compiler and platform.  Read by lwIP's own arch.h.
#ifndef ARCH_CC_H
#define ARCH_CC_H

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_CTYPE_H    1
#define LWIP_NO_UNISTD_H   1
#define LWIP_NO_LIMITS_H   1 // gcc's own fails without the system's
#define INT_MAX            __INT_MAX__

#define U8_F  "u"
#define X8_F  "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "u"

#define BYTE_ORDER    LITTLE_ENDIAN
#define lwip_htons(x) __builtin_bswap16(x) // lwIP's own are functions
#define lwip_htonl(x) __builtin_bswap32(x)

void panic(const char *, ...) __attribute__((noreturn, format(printf, 1, 2)));
void cprintf(const char *, ...) __attribute__((format(printf, 1, 2)));
unsigned int rand32(void);
void net_check(void);
unsigned short net_chksum(const void *data, int len);

#define LWIP_PLATFORM_DIAG(x)     cprintf x
#define LWIP_PLATFORM_ASSERT(x)   panic("lwip: %s", x)
#define LWIP_RAND()               rand32()
#define LWIP_CHKSUM               net_chksum
#define LWIP_ASSERT_CORE_LOCKED() net_check()

#endif
