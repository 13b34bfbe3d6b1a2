// Socket system calls: fetch and check the arguments, find the socket, call sock.c.
//
// All return >= 0 or a negative error number of uapi/net.h.  What a program passes
// is checked here, before anything is done: a bad pointer costs nothing but -EFAULT.
// A socket's file is kept open by the descriptor of the process that is in the call.
#include "uapi/types.h"
#include "uapi/fcntl.h"
#include "defs.h"
#include "file.h"
#include "mmu.h"
#include "proc.h"
#include "syscalls.h"
#include "net/net.h"
#include "net/sock.h"

// The socket behind argument 0.
static int
argsock(struct file **f)
{
  int fd;
  if(argfd(0, &fd, f) < 0)
    return -EBADF;
  return (*f)->type == FD_SOCK ? 0 : -ENOTSOCK;
}

// The address in arguments n (pointer) and n + 1 (its length), copied.
static int
argaddr(int n, struct sockaddr_in *sa)
{
  char *p;
  int len;
  if(argint(n + 1, &len) < 0)
    return -EFAULT;
  if(len < (int)sizeof(*sa))
    return -EINVAL;
  if(argptr(n, &p, sizeof(*sa), 0) < 0)
    return -EFAULT;
  memmove(sa, p, sizeof(*sa));
  return sa->sin_family == AF_INET ? 0 : -EAFNOSUPPORT;
}

// Where a call is to leave an address: arguments n (0: nowhere) and n + 1
// (pointer to its size).
struct addrout {
  char *to;
  int *len; //
  int room; // bytes at to; *len may lie in the buffer that the call fills
};

static int
argaddrout(int n, struct addrout *a)
{
  int addr, len;
  *a = (struct addrout){0};
  if(argint(n, &addr) < 0)
    return -EFAULT;
  if(addr == 0)
    return 0;
  if(argptr(n + 1, (char **)&a->len, sizeof(int), 1) < 0)
    return -EFAULT;
  memmove(&len, a->len, sizeof(len));
  if(len < 0)
    return -EINVAL;
  if(len > (int)sizeof(struct sockaddr_in))
    len = sizeof(struct sockaddr_in);
  a->room = len;
  return argptr(n, &a->to, len, 1) < 0 ? -EFAULT : 0;
}

static void
put_addr(const struct addrout *a, const struct sockaddr_in *sa)
{
  int full = sizeof(*sa);
  if(a->to == 0)
    return;
  memmove(a->to, sa, a->room);
  memmove(a->len, &full, sizeof(full));
}

// An open file and a descriptor for a socket to come.  The descriptor, or -errno.
static int
new_file(struct file **f, int flags)
{
  *f = filealloc();
  if(*f == 0)
    return -ENFILE;
  int fd = fdalloc(*f);
  if(fd < 0) {
    fileclose(*f);
    return -EMFILE;
  }
  (*f)->readable = 1;
  (*f)->writable = 1;
  (*f)->flags = flags;
  return fd;
}

static int
undo_file(int fd, struct file *f, int err)
{
  myproc()->ofile[fd] = 0;
  fileclose(f);
  return err;
}

static void
set_sock(struct file *f, struct sock *s)
{
  f->sock = s;
  f->sock_id = s->id;
  f->type = FD_SOCK;
}

// proto 0: the one there is.
static const struct sock_ops *
kind_of(int type, int proto)
{
  static const struct sock_ops *const kinds[] = {&stream_ops, &udp_ops, &icmp_ops};
  for(u32 i = 0; i < NELEM(kinds); i++)
    if(kinds[i]->type == type && (proto == 0 || kinds[i]->proto == proto))
      return kinds[i];
  return 0;
}

int
sys_socket(void)
{
  int family, type, proto, err = 0;
  struct file *f;
  if(argint(0, &family) < 0 || argint(1, &type) < 0 || argint(2, &proto) < 0)
    return -EFAULT;
  if(family != AF_INET)
    return -EAFNOSUPPORT;
  const struct sock_ops *ops = kind_of(type & ~SOCK_NONBLOCK, proto);
  if(ops == 0)
    return -EPROTONOSUPPORT;
  int fd = new_file(&f, type & SOCK_NONBLOCK ? O_NONBLOCK : 0);
  if(fd < 0)
    return fd;
  struct sock *s = sock_create(ops, &err);
  if(s == 0)
    return undo_file(fd, f, err);
  set_sock(f, s);
  return fd;
}

int
sys_bind(void)
{
  struct file *f;
  struct sockaddr_in sa;
  int r = argsock(&f);
  if(r == 0)
    r = argaddr(1, &sa);
  return r < 0 ? r : sock_bind(f->sock, &sa);
}

int
sys_listen(void)
{
  struct file *f;
  int backlog, r = argsock(&f);
  if(r < 0)
    return r;
  if(argint(1, &backlog) < 0)
    return -EFAULT;
  return sock_listen(f->sock, backlog);
}

int
sys_accept(void)
{
  struct file *l, *f;
  struct addrout out;
  int err = argsock(&l);
  if(err == 0)
    err = argaddrout(1, &out);
  if(err < 0)
    return err;
  // First the descriptor: a connection taken from the queue must not be lost for want of one.
  int fd = new_file(&f, 0);
  if(fd < 0)
    return fd;
  struct sock *s = sock_accept(l->sock, l->flags, &err);
  if(s == 0)
    return undo_file(fd, f, err);
  set_sock(f, s);
  struct sockaddr_in sa;
  sock_name(s, 1, &sa);
  put_addr(&out, &sa);
  return fd;
}

int
sys_connect(void)
{
  struct file *f;
  struct sockaddr_in sa;
  int r = argsock(&f);
  if(r == 0)
    r = argaddr(1, &sa);
  return r < 0 ? r : sock_connect(f->sock, &sa, f->flags);
}

// Arguments of send and recv: descriptor, buffer, length, flags.
static int
argbuf(struct file **f, char **p, int *n, int *flags, int writable)
{
  int r = argsock(f);
  if(r < 0)
    return r;
  if(argint(2, n) < 0 || argint(3, flags) < 0 || *n < 0 || argptr(1, p, *n, writable) < 0)
    return -EFAULT;
  int known = MSG_DONTWAIT | MSG_NOSIGNAL | (writable ? MSG_PEEK : MSG_MORE);
  if(*flags & ~known)
    return -EINVAL;
  *flags |= (*f)->flags & O_NONBLOCK;
  return 0;
}

int
sys_send(void)
{
  struct file *f;
  char *p;
  int n, flags, r = argbuf(&f, &p, &n, &flags, 0);
  return r < 0 ? r : sock_send(f->sock, p, n, flags, 0);
}

// The address may be 0: to the peer.
int
sys_sendto(void)
{
  struct file *f;
  char *p;
  struct sockaddr_in sa;
  int n, flags, to, r = argbuf(&f, &p, &n, &flags, 0);
  if(r == 0 && argint(4, &to) < 0)
    r = -EFAULT;
  if(r == 0 && to)
    r = argaddr(4, &sa);
  return r < 0 ? r : sock_send(f->sock, p, n, flags, to ? &sa : 0);
}

int
sys_recv(void)
{
  struct file *f;
  char *p;
  int n, flags, r = argbuf(&f, &p, &n, &flags, 1);
  return r < 0 ? r : sock_recv(f->sock, p, n, flags, 0);
}

int
sys_recvfrom(void)
{
  struct file *f;
  struct addrout out;
  struct sockaddr_in sa;
  char *p;
  int n, flags, r = argbuf(&f, &p, &n, &flags, 1);
  if(r == 0)
    r = argaddrout(4, &out);
  if(r == 0)
    r = sock_recv(f->sock, p, n, flags, &sa);
  if(r > 0 || (r == 0 && f->sock->ops != &stream_ops)) // the end of a stream is from nobody
    put_addr(&out, &sa);
  return r;
}

int
sys_shutdown(void)
{
  struct file *f;
  int how, r = argsock(&f);
  if(r < 0)
    return r;
  if(argint(1, &how) < 0)
    return -EFAULT;
  if(how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
    return -EINVAL;
  return sock_shutdown(f->sock, how);
}

int
sys_setsockopt(void)
{
  struct file *f;
  char *val;
  int level, name, len, r = argsock(&f);
  if(r < 0)
    return r;
  if(argint(1, &level) < 0 || argint(2, &name) < 0 || argint(4, &len) < 0 || argptr(3, &val, len, 0) < 0)
    return -EFAULT;
  return sock_setopt(f->sock, level, name, val, len);
}

int
sys_getsockopt(void)
{
  struct file *f;
  char *val, *lenp;
  int level, name, len, r = argsock(&f);
  if(r < 0)
    return r;
  if(argint(1, &level) < 0 || argint(2, &name) < 0 || argptr(4, &lenp, sizeof(len), 1) < 0)
    return -EFAULT;
  memmove(&len, lenp, sizeof(len));
  if(argptr(3, &val, len, 1) < 0)
    return -EFAULT;
  r = sock_getopt(f->sock, level, name, val, &len);
  if(r == 0)
    memmove(lenp, &len, sizeof(len));
  return r;
}

static int
sockname(int peer)
{
  struct file *f;
  struct addrout out;
  struct sockaddr_in sa;
  int r = argsock(&f);
  if(r == 0)
    r = argaddrout(1, &out);
  if(r == 0)
    r = sock_name(f->sock, peer, &sa);
  if(r == 0)
    put_addr(&out, &sa);
  return r;
}

int
sys_getsockname(void)
{
  return sockname(0);
}

int
sys_getpeername(void)
{
  return sockname(1);
}

int
sys_resolve(void)
{
  char *name, *out;
  u32 addr;
  int ms;
  if(argstr(0, &name) < 0 || argptr(1, &out, sizeof(addr), 1) < 0 || argint(2, &ms) < 0)
    return -EFAULT;
  if(ms < 1)
    return -EINVAL;
  int r = net_resolve(name, &addr, ms);
  if(r == 0)
    memmove(out, &addr, sizeof(addr));
  return r;
}

int
sys_netinfo(void)
{
  int what, len;
  char *buf;
  if(argint(0, &what) < 0 || argint(2, &len) < 0 || len < 0 || argptr(1, &buf, len, 1) < 0)
    return -EFAULT;
  return net_info(what, buf, len);
}

int
sys_netconf(void)
{
  char *p;
  struct netconf c;
  if(argptr(0, &p, sizeof(c), 0) < 0)
    return -EFAULT;
  memmove(&c, p, sizeof(c));
  return net_configure(&c);
}
