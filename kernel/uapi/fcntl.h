// Flags of open; O_NONBLOCK also of fcntl and socket.
#ifndef UAPI_FCNTL_H
#define UAPI_FCNTL_H

#define O_RDONLY   0x0000
#define O_WRONLY   0x0001
#define O_RDWR     0x0002
#define O_CREATE   0x0200
#define O_TRUNC    0x0400 // cut an existing file to 0 bytes
#define O_APPEND   0x0800 // each write goes to the end
#define O_NONBLOCK 0x1000 // -EAGAIN instead of waiting

#define F_GETFL 3
#define F_SETFL 4

#endif
