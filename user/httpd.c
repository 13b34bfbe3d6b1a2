// httpd [-p PORT] [-r DIR]: serve the files of a directory by HTTP.
//
// One process over poll: every connection is a struct conn in one of three
// states, and every socket call returns at once.
//
//   READ    collect a request's header          -> SEND, or closed
//   SEND    the answer goes out                 -> READ (keep-alive) or LINGER
//   LINGER  our FIN is out; read and throw away -> closed
//
// An answer is built whole in memory, header in front of the body, so that both
// leave in one send.  Files here end at 70 KB, so that costs little.
#include "cmd.h"
#include "types.h"
#include "stat.h"
#include "fcntl.h"
#include "fs.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: httpd [-p PORT] [-r DIR]\n"
  "Serves the files of a directory by HTTP, until Ctrl-C or kill.\n"
  "  -p PORT  default 80\n"
  "  -r DIR   default /; a directory shows its index.html, else (or with ?list) a listing\n"
  "/status tells how the server is.\n";

#define NCONN      56      // with the listener within NPOLL, with 0-2 and a file within NOFILE
#define NHEADER    4096    // bytes of a request's header
#define NPATH      1024    // bytes of a path with its NUL
#define IDLE_MS    10000   // for the next header, for the rest of one, or for the client to take some of an answer
#define FIRST_MS   30000   // for a new connection's first byte: it may have been lost and resent, ever later
#define CROWDED_MS 2000    // for either, while all places are taken
#define LINGER_MS  1000    // between our FIN and the client's
#define LINGER_MAX 1048576 // bytes thrown away meanwhile
#define BACKLOG    16

enum {
  FREE,
  READ,
  SEND,
  LINGER,
};

// Text that grows.  Once memory is gone it stays as it is, and says so.
struct text {
  char *p;
  u32 len, size;
  int failed;
  int busy; // of a body: incomplete, because the system had no file left to open
};

// One per connection.
struct conn {
  int fd;
  int state;
  u64 deadline; // ms since boot
  u64 since;    // READ: when it began to wait for a request, ms since boot
  int keep;     // another request may follow this answer
  u32 inlen;    // bytes in in
  u32 outpos;   // bytes of out already sent
  u32 drained;  // LINGER: bytes thrown away
  struct text out;
  char in[NHEADER + 1];
};

// What a request asks for.
struct request {
  int minor;        // of HTTP/1.minor
  int head;         // HEAD: no body in the answer
  int list;         // ?list: the directory, even if it has an index.html
  int keep;         // the client would like to keep the connection
  int hosts;        // Host fields seen
  int body;         // a body follows, which we do not read
  char path[NPATH]; // decoded, without . and .., relative to the root; "." is the root
};

static struct conn conns[NCONN];
static u64 now;      // ms since boot, read after each poll
static u32 requests; // answered since start
static u32 nopen;    // connections open

// ---- text ----

static void
put_bytes(struct text *t, const void *p, u32 n)
{
  if(t->failed)
    return;
  if(n > t->size - t->len) {
    u32 size = 2 * t->size + n + 512;
    char *q = malloc(size);
    if(q == 0) {
      t->failed = 1;
      return;
    }
    memmove(q, t->p, t->len);
    free(t->p);
    t->p = q;
    t->size = size;
  }
  memmove(t->p + t->len, p, n);
  t->len += n;
}

static void
put(struct text *t, const char *s)
{
  put_bytes(t, s, strlen(s));
}

static void
put_num(struct text *t, u32 n)
{
  char digits[10], *p = digits + sizeof(digits);
  do {
    *--p = '0' + n % 10;
    n /= 10;
  } while(n > 0);
  put_bytes(t, p, digits + sizeof(digits) - p);
}

// A file name inside HTML, or inside a link (url).
static void
put_name(struct text *t, const char *s, int url)
{
  static const char hex[] = "0123456789ABCDEF";
  for(; *s; s++) {
    char esc[] = {'%', hex[*s >> 4 & 15], hex[*s & 15]};
    if(url && (strchr("\"#%&<>?", *s) || *s <= ' '))
      put_bytes(t, esc, 3);
    else if(*s == '<')
      put(t, "&lt;");
    else if(*s == '&')
      put(t, "&amp;");
    else
      put_bytes(t, s, 1);
  }
}

static void
text_free(struct text *t)
{
  free(t->p);
  *t = (struct text){0};
}

// ---- reading a request ----

static char
lower(char c)
{
  return 'A' <= c && c <= 'Z' ? c + 32 : c;
}

// s begins with word, upper and lower case alike.
static int
begins(const char *s, const char *word)
{
  while(*word)
    if(lower(*s++) != lower(*word++))
      return 0;
  return 1;
}

static int
same_word(const char *a, const char *b)
{
  return strlen(a) == strlen(b) && begins(a, b);
}

static int
has_nul(const char *s, u32 n)
{
  return strlen(s) < n;
}

// A field's value, words with commas between them, has this word.
static int
has_word(const char *list, const char *word)
{
  for(;;) {
    while(*list && strchr(" \t,", *list))
      list++;
    if(*list == 0)
      return 0;
    const char *end = list + strlen(word);
    if(begins(list, word) && (*end == 0 || strchr(" \t,", *end)))
      return 1;
    while(*list && *list != ',')
      list++;
  }
}

static int
hex_digit(char c)
{
  c = lower(c);
  return '0' <= c && c <= '9' ? c - '0' : 'a' <= c && c <= 'f' ? c - 'a' + 10
                                                               : -1;
}

// Replace %41 by A, in place; 400 if it is malformed or hides a NUL.
static int
decode(char *s)
{
  char *d = s;
  for(; *s; s++) {
    if(*s == '%') {
      int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
      if(lo < 0 || (hi | lo) == 0)
        return 400;
      *d++ = hi << 4 | lo;
      s += 2;
    } else {
      *d++ = *s;
    }
  }
  *d = 0;
  return 0;
}

// Write the parts of s to path: . and empty parts vanish, .. takes one away, at
// the root none.  So no path leaves the root, whatever the file system does with ..
// Returns 404 for a part that no name can have: the kernel would cut it.
static int
normalise(const char *s, char *path)
{
  u32 len = 0;
  while(*s) {
    const char *end = strchr(s, '/');
    u32 n = end ? (u32)(end - s) : strlen(s);
    if(n > DIRSIZ)
      return 404;
    if(n == 2 && s[0] == '.' && s[1] == '.') {
      while(len > 0 && path[--len] != '/')
        ;
    } else if(n > 0 && !(n == 1 && s[0] == '.')) {
      if(len > 0)
        path[len++] = '/';
      memmove(path + len, s, n);
      len += n;
    }
    s += n;
    while(*s == '/')
      s++;
  }
  path[len] = 0;
  if(len == 0)
    strcpy(path, ".");
  return 0;
}

// The target: /path?query, or the same behind http://host.
static int
parse_target(char *s, struct request *r)
{
  if(begins(s, "http://")) {
    s = strchr(s + 7, '/');
    if(s == 0)
      return normalise("", r->path);
  }
  if(*s != '/')
    return 400;
  char *query = strchr(s, '?');
  if(query) {
    *query++ = 0;
    r->list = strcmp(query, "list") == 0;
  }
  if(strlen(s) >= NPATH)
    return 414;
  int bad = decode(s);
  return bad ? bad : normalise(s, r->path);
}

static int
parse_method(const char *s, struct request *r)
{
  static const char *const others[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"};
  r->head = strcmp(s, "HEAD") == 0;
  if(r->head || strcmp(s, "GET") == 0)
    return 0;
  for(u32 i = 0; i < sizeof(others) / sizeof(others[0]); i++)
    if(strcmp(s, others[i]) == 0)
      return 405;
  return 501;
}

// HTTP/1.x; later minors speak as 1.1 does.
static int
parse_version(const char *s, struct request *r)
{
  if(!begins(s, "HTTP/") || strlen(s) != 8 || s[6] != '.')
    return 400;
  if(s[5] != '1')
    return 505;
  r->minor = s[7] - '0';
  r->keep = r->minor >= 1;
  return r->minor >= 0 && r->minor <= 9 ? 0 : 400;
}

// One header field, "Name: value".
static int
parse_field(char *s, struct request *r)
{
  char *value = strchr(s, ':');
  if(value == 0 || value == s || value[-1] == ' ' || *s == ' ' || *s == '\t')
    return 400;
  *value++ = 0;
  while(*value == ' ' || *value == '\t')
    value++;
  if(same_word(s, "host")) {
    r->hosts++;
  } else if(same_word(s, "connection")) {
    r->keep = !has_word(value, "close") && (r->keep || has_word(value, "keep-alive"));
  } else if(same_word(s, "transfer-encoding")) {
    return 501;
  } else if(same_word(s, "content-length")) {
    if(*value == 0)
      return 400;
    for(; *value; value++) {
      if(*value < '0' || *value > '9')
        return 400;
      r->body |= *value != '0';
    }
  }
  return 0;
}

// Cut one line off *s, without its CR LF or LF.
static char *
next_line(char **s)
{
  char *line = *s, *end = strchr(line, '\n');
  *s = end + 1;
  if(end > line && end[-1] == '\r')
    end--;
  *end = 0;
  return line;
}

// Cut s at its first blank; what is behind it, or 0.
static char *
cut(char *s)
{
  char *end = s ? strchr(s, ' ') : 0;
  if(end)
    *end++ = 0;
  return end;
}

// s: a header that ends in an empty line and has no NUL before it.
// Returns 0, or the status to answer with; r->keep is meaningful with 0 and 404.
static int
parse_request(char *s, struct request *r)
{
  *r = (struct request){0};
  char *method = next_line(&s);
  char *target = cut(method), *version = cut(target);
  if(version == 0)
    return 400;
  int bad = parse_version(version, r);
  for(char *line = next_line(&s); !bad && *line; line = next_line(&s))
    bad = parse_field(line, r);
  if(!bad && r->minor >= 1 && r->hosts != 1)
    bad = 400; // RFC 9112 asks for exactly one Host
  if(!bad)
    bad = parse_method(method, r);
  if(!bad)
    bad = parse_target(target, r);
  if(r->body)
    r->keep = 0; // a body is not read: the next request could not be found
  return bad;
}

// ---- answers ----

static const char *
reason(int status)
{
  static const struct {
    int status;
    const char *words;
  } reasons[] = {
    {200, "OK"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {414, "URI Too Long"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
  };
  for(u32 i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
    if(reasons[i].status == status)
      return reasons[i].words;
  return "";
}

static const char text_html[] = "text/html; charset=utf-8";
static const char text_plain[] = "text/plain; charset=utf-8";

// What a file is, by the end of its name, else by whether it holds a NUL.
static const char *
type_of(const char *path, const struct text *body)
{
  static const struct {
    const char *end, *type;
  } types[] = {
    {".html", text_html},
    {".txt", text_plain},
    {".css", "text/css"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
  };
  u32 len = strlen(path);
  for(u32 i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    u32 n = strlen(types[i].end);
    if(len >= n && strcmp(path + len - n, types[i].end) == 0)
      return types[i].type;
  }
  for(u32 i = 0; i < body->len; i++)
    if(body->p[i] == 0)
      return "application/octet-stream";
  return text_plain;
}

// Append what fd yields, to its end; 0, or -1 after an error.
static int
put_file(struct text *t, int fd)
{
  static char buf[8192];
  int n;
  while((n = read(fd, buf, sizeof(buf))) > 0)
    put_bytes(t, buf, n);
  return n;
}

// open does not say why it failed: does it fail for a path that exists, too?
static int
no_files(void)
{
  int fd = open(".", O_RDONLY);
  if(fd >= 0)
    close(fd);
  return fd < 0;
}

static void
put_entry(struct text *t, const char *dir, const char *name)
{
  static char path[NPATH + 1 + DIRSIZ];
  struct stat st;
  strcpy(path, dir);
  path[strlen(dir) + 1] = 0;
  path[strlen(dir)] = '/';
  strcpy(path + strlen(path), name);
  if(stat(path, &st) < 0) {
    t->busy |= no_files();
    return;
  }
  put(t, "<li><a href=\"/");
  if(strcmp(dir, ".") != 0) {
    put_name(t, dir, 1);
    put(t, "/");
  }
  put_name(t, name, 1);
  put(t, st.type == T_DIR ? "?list\">" : "\">");
  put_name(t, name, 0);
  put(t, st.type == T_DIR ? "/</a>" : "</a> ");
  if(st.type == T_FILE)
    put_num(t, st.size);
  put(t, st.type == T_DEV ? "device</li>\n" : "</li>\n");
}

// The directory dir, open at fd.
static void
put_listing(struct text *t, const char *dir, int fd)
{
  struct dirent de;
  char name[DIRSIZ + 1] = {0};
  put(t, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Files</title>\n<h1>/");
  if(strcmp(dir, ".") != 0)
    put_name(t, dir, 0);
  put(t, "</h1>\n<ul>\n");
  while(read(fd, &de, sizeof(de)) == sizeof(de)) {
    memmove(name, de.name, DIRSIZ);
    if(de.inum != 0 && strcmp(name, ".") != 0)
      put_entry(t, dir, name);
  }
  put(t, "</ul>\n");
}

static void
put_status(struct text *t)
{
  u64 s = now;
  u32 ms = div64(&s, 1000);
  put(t, "xv6-nettrace httpd\n\nuptime ");
  put_num(t, s);
  put_bytes(t, (char[]){'.', '0' + ms / 100}, 2);
  put(t, " s\nrequests ");
  put_num(t, requests);
  put(t, "\nconnections ");
  put_num(t, nopen);
  put(t, "\n\n/dev/nettrace.stat\n");
  int fd = open("/dev/nettrace.stat", O_RDONLY);
  if(fd < 0) {
    put(t, "not there\n");
    return;
  }
  put_file(t, fd);
  close(fd);
}

// A directory: its index.html if it has one, else what is in it.
static int
fetch_dir(const struct request *r, int fd, struct text *body, const char **type)
{
  static char index[NPATH + 12];
  *type = text_html;
  strcpy(index, r->path);
  strcpy(index + strlen(index), "/index.html");
  int ifd = r->list ? -1 : open(index, O_RDONLY);
  body->busy = !r->list && ifd < 0 && no_files();
  if(ifd < 0) {
    put_listing(body, r->path, fd);
    return 200;
  }
  int status = put_file(body, ifd) < 0 ? 500 : 200;
  close(ifd);
  return status;
}

// Put what r asks for into body; returns the status.
// A device is not found: reading one could wait for ever.
static int
fetch(const struct request *r, struct text *body, const char **type)
{
  if(strcmp(r->path, "status") == 0) {
    *type = text_plain;
    put_status(body);
    return 200;
  }
  int fd = open(r->path, O_RDONLY);
  if(fd < 0)
    return no_files() ? 503 : 404;
  int status = 404;
  struct stat st = {0};
  if(fstat(fd, &st) == 0 && st.type == T_DIR) {
    status = fetch_dir(r, fd, body, type);
  } else if(st.type == T_FILE) {
    status = put_file(body, fd) < 0 ? 500 : 200;
    *type = type_of(r->path, body);
  }
  close(fd);
  return status;
}

// Give c its answer, from here on in state SEND.  body is freed.
static void
answer(struct conn *c, int status, const char *type, struct text *body, int head)
{
  if(body->failed)
    status = 500;
  else if(body->busy)
    status = 503;
  if(status != 200) {
    text_free(body);
    type = text_plain;
    put_num(body, status);
    put(body, " ");
    put(body, reason(status));
    put(body, "\n");
  }
  struct text *t = &c->out;
  put(t, "HTTP/1.1 ");
  put_num(t, status);
  put(t, " ");
  put(t, reason(status));
  put(t, "\r\nServer: xv6-nettrace\r\nContent-Type: ");
  put(t, type);
  put(t, "\r\nContent-Length: ");
  put_num(t, body->len);
  put(t, status == 405 ? "\r\nAllow: GET, HEAD" : "");
  put(t, c->keep ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n");
  if(!head)
    put_bytes(t, body->p, body->len);
  text_free(body);
  c->outpos = 0;
  c->state = SEND;
  c->deadline = now + IDLE_MS;
  requests++;
}

// The request was no request: say so, and end the connection.
static void
refuse(struct conn *c, int status)
{
  struct text body = {0};
  c->keep = 0;
  c->inlen = 0;
  answer(c, status, text_plain, &body, 0);
}

// ---- connections ----

static void
drop(struct conn *c)
{
  close(c->fd);
  text_free(&c->out);
  c->state = FREE;
  nopen--;
}

static void
await_request(struct conn *c)
{
  c->state = READ;
  c->since = now;
  c->deadline = now + IDLE_MS;
}

// Bytes of the header in c->in, its empty line included; 0 if it is not complete.
static u32
header_len(const struct conn *c)
{
  for(u32 i = 1; i < c->inlen; i++) {
    if(c->in[i] != '\n')
      continue;
    if(c->in[i - 1] == '\n' || (i >= 2 && c->in[i - 1] == '\r' && c->in[i - 2] == '\n'))
      return i + 1;
  }
  return 0;
}

// Forget the first n bytes of input.
static void
eat(struct conn *c, u32 n)
{
  c->inlen -= n;
  memmove(c->in, c->in + n, c->inlen);
}

// If a whole header is there, answer it.  Returns whether it was.
static int
take_request(struct conn *c)
{
  static struct request r;
  while(c->inlen > 0 && (c->in[0] == '\r' || c->in[0] == '\n'))
    eat(c, 1); // RFC 9112: ignore empty lines before a request
  u32 n = header_len(c);
  c->in[c->inlen] = 0;
  if(n == 0 && c->inlen < NHEADER)
    return 0;
  if(n == 0) {
    refuse(c, strchr(c->in, '\n') ? 431 : 414);
    return 1;
  }
  struct text body = {0};
  const char *type = text_plain;
  int status = has_nul(c->in, n) ? 400 : parse_request(c->in, &r);
  if(status != 0 && status != 404) {
    refuse(c, status);
    return 1;
  }
  eat(c, n);
  c->keep = r.keep;
  if(status == 0)
    status = fetch(&r, &body, &type);
  answer(c, status, type, &body, r.head);
  return 1;
}

// Send what the socket takes.  Returns whether that was all.
static int
send_some(struct conn *c)
{
  struct text *t = &c->out;
  if(t->failed) {
    drop(c); // not even memory for a header
    return 0;
  }
  // The last answer and the end of the connection share a segment.
  int n = send(c->fd, t->p + c->outpos, t->len - c->outpos, MSG_DONTWAIT | (c->keep ? 0 : MSG_MORE));
  if(n < 0) {
    if(n != -EAGAIN)
      drop(c);
    return 0;
  }
  c->outpos += n;
  c->deadline = now + IDLE_MS;
  if(c->outpos < t->len)
    return 0;
  text_free(t);
  if(c->keep) {
    await_request(c);
    return 1;
  }
  shutdown(c->fd, SHUT_WR);
  c->state = LINGER;
  c->deadline = now + LINGER_MS;
  c->drained = 0;
  return 0;
}

// Read more of a request.  Returns whether there is something new to do: a client
// that ends in the middle of a header hears that this was no request.
static int
read_some(struct conn *c)
{
  int n = recv(c->fd, c->in + c->inlen, NHEADER - c->inlen, MSG_DONTWAIT);
  if(n == -EAGAIN)
    return 0;
  if(n == 0 && c->inlen > 0) {
    refuse(c, 400);
    return 1;
  }
  if(n <= 0) {
    drop(c);
    return 0;
  }
  if(c->inlen == 0)
    c->deadline = now + IDLE_MS;
  c->inlen += n;
  return 1;
}

// Our FIN is out.  Closing now, with input unread, would reset the connection,
// and the client could lose the answer: read until it has closed, too.
static void
linger(struct conn *c)
{
  static char buf[4096];
  int n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
  if(n == -EAGAIN)
    return;
  c->drained += n > 0 ? n : 0;
  if(n <= 0 || c->drained > LINGER_MAX)
    drop(c);
}

// poll says that something can be done for c: do it, until c has to wait.
// Requests that came in one piece (pipelining) are answered one after the other.
static void
serve(struct conn *c)
{
  if(c->state == LINGER) {
    linger(c);
    return;
  }
  if(c->state == READ && !read_some(c))
    return;
  while(c->state == SEND || take_request(c))
    if(!send_some(c))
      return;
}

static void
expire(struct conn *c)
{
  if(c->state == READ && c->inlen > 0) {
    refuse(c, 408);
    send_some(c);
  } else {
    drop(c);
  }
}

static void
accept_all(int listener)
{
  for(struct conn *c = conns; c < conns + NCONN; c++) {
    if(c->state != FREE)
      continue;
    int fd = accept(listener, 0, 0);
    if(fd == -EAGAIN)
      return;
    if(fd < 0) {
      sleep(1); // out of something: let it come back, do not spin
      return;
    }
    c->fd = fd;
    c->inlen = 0;
    nopen++;
    c->state = READ;
    c->since = now;
    c->deadline = now + FIRST_MS;
  }
}

static u64
now_ms(void)
{
  u64 ns;
  nsclock(&ns);
  div64(&ns, 1000000);
  return ns;
}

// When c has to have done something: who says nothing has little time while all places
// are taken.
static u64
deadline_of(const struct conn *c)
{
  int hurry = nopen == NCONN && c->state == READ && c->inlen == 0;
  return hurry && c->since + CROWDED_MS < c->deadline ? c->since + CROWDED_MS : c->deadline;
}

// Wait for the listener or a connection, serve what is ready, end what is late.
static void
serve_once(int listener)
{
  struct pollfd p[NCONN + 1];
  struct conn *who[NCONN + 1];
  u64 first = ~0ull;
  int n = 0;
  for(struct conn *c = conns; c < conns + NCONN; c++) {
    if(c->state == FREE)
      continue;
    who[n] = c;
    p[n++] = (struct pollfd){.fd = c->fd, .events = c->state == SEND ? POLLOUT : POLLIN};
    u64 late = deadline_of(c);
    first = late < first ? late : first;
  }
  int full = n == NCONN;
  p[n] = (struct pollfd){.fd = listener, .events = POLLIN};
  poll(p, full ? n : n + 1, first == ~0ull ? -1 : first > now ? (int)(first - now) + 1
                                                              : 0);
  now = now_ms();
  for(int i = 0; i < n; i++) {
    if(p[i].revents)
      serve(who[i]);
    if(who[i]->state != FREE && now >= deadline_of(who[i]))
      expire(who[i]);
  }
  if(!full && p[n].revents)
    accept_all(listener);
}

// ---- start ----

static int
open_listener(int port)
{
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int on = 1; // connections of an earlier run may still be in TIME-WAIT
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int err = fd < 0 ? fd : bind(fd, &sa, sizeof(sa));
  if(err >= 0)
    err = listen(fd, BACKLOG);
  if(err >= 0)
    return fd;
  printf(2, "httpd: port %d: %s\n", port, neterr(err));
  exits(1);
}

int
main(int argc, char *argv[])
{
  int port = 80;
  const char *root = "/";
  cmd("httpd", help);
  for(int o; (o = getopt(argc, argv, "p:r:")) != -1;) {
    if(o == 'p')
      port = number(optarg, 1, 65535);
    else
      root = optarg;
  }
  if(optind != argc)
    usage();
  if(chdir(root) < 0) {
    printf(2, "httpd: %s: no such directory\n", root);
    exits(1);
  }
  int listener = open_listener(port);
  now = now_ms();
  for(;;)
    serve_once(listener);
}
