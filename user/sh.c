// The shell: sh (from standard input), sh FILE, sh -c LINE.
//
//   line = job {(";" | "&") job} [";" | "&"]     job = part {"|" part}
//   part = ( "(" line ")" | {redir} word {word} ) {redir}
//   redir = "<" file | ">" file | ">>" file
//
// A line of at most 511 characters is cut into words, parsed into a tree of
// nodes, and run.  A command is one child process; a pipe or a group is one
// child that starts the rest, so that Ctrl-C, which ends a process and its
// descendants, needs to know one pid.  cd and exit are done by the shell itself.
#include "types.h"
#include "fcntl.h"
#include "param.h"
#include "sys.h"
#include "user.h"
#include "edit.h"

#define NLINE  512             // bytes of a line with its NUL
#define NNODE  (3 * NLINE / 2) // "a&a&a&...": three nodes for two characters; no line needs more
#define NREDIR (NLINE / 2)
#define NARGV  NLINE // words of a line, and a 0 behind each command's
#define NTEXT  (2 * NLINE)
#define DEPTH  16 // groups within groups

#define NOT_FOUND 127 // statuses as other shells give them
#define KILLED    137
#define BAD_LINE  2

enum {
  N_CMD,  // argv
  N_SUB,  // ( left )
  N_PIPE, // left | right
  N_LIST, // left ; right
  N_BACK, // left &
};

struct redir {
  const char *file;
  int fd;
  int flags; // of open
  struct redir *next;
};

struct node {
  int kind;
  struct node *left, *right;
  char **argv;
  struct redir *redirs;
};

// The line at hand: its tree lies in these arrays until the next one.
static char line[NLINE];
static const char *pos; // what is left to parse
static struct node nodes[NNODE];
static struct redir redirs[NREDIR];
static char *args[NARGV];
static char text[NTEXT]; // the words without their quotes
static int nnode, nredir, narg, ntext;
static int depth;
static const char *wrong; // first thing the parser objected to, or 0

static int interactive; // commands come from a terminal
static int script = -1; // descriptor of FILE

static struct node *parse_line(void);
static int run(struct node *);

// ---- parsing ----

static struct node *
fail(const char *why)
{
  if(wrong == 0)
    wrong = why;
  return 0;
}

static int
is_blank(char c)
{
  return c && strchr(" \t\r\n\v", c) != 0;
}

// The next character that is no blank; a comment counts as the end.
static char
peek(void)
{
  while(is_blank(*pos))
    pos++;
  if(*pos == '#')
    pos += strlen(pos);
  return *pos;
}

static struct node *
new_node(int kind, struct node *left, struct node *right)
{
  struct node *n = &nodes[nnode++];
  *n = (struct node){.kind = kind, .left = left, .right = right};
  return n;
}

// Cut a word off, without its quotes; 0 after fail().
// A line's words are never longer than the line: text cannot overflow.
static char *
parse_word(void)
{
  char *word = text + ntext;
  while(*pos && !is_blank(*pos) && strchr("<>|&;()", *pos) == 0) {
    if(*pos != '\'' && *pos != '"') {
      text[ntext++] = *pos++;
      continue;
    }
    char quote = *pos++;
    while(*pos && *pos != quote)
      text[ntext++] = *pos++;
    if(*pos == 0) {
      fail("a quote is not closed");
      return 0;
    }
    pos++;
  }
  text[ntext++] = 0;
  return word;
}

// A < or > is next.  Redirections take effect from left to right.
static void
parse_redir(struct node *n)
{
  struct redir *r = &redirs[nredir++];
  *r = (struct redir){.fd = 1, .flags = O_WRONLY | O_CREATE | O_TRUNC};
  if(*pos++ == '<') {
    r->fd = 0;
    r->flags = O_RDONLY;
  } else if(*pos == '>') {
    pos++;
    r->flags = O_WRONLY | O_CREATE | O_APPEND;
  }
  char c = peek();
  if(c == 0 || strchr("<>|&;()", c)) {
    fail("a redirection without a file");
    return;
  }
  r->file = parse_word();
  struct redir **pp = &n->redirs;
  while(*pp)
    pp = &(*pp)->next;
  *pp = r;
}

static void
parse_redirs(struct node *n)
{
  for(char c = peek(); !wrong && (c == '<' || c == '>'); c = peek())
    parse_redir(n);
}

static struct node *
parse_group(void)
{
  if(++depth > DEPTH)
    return fail("groups too deep");
  pos++;
  struct node *n = new_node(N_SUB, parse_line(), 0);
  depth--;
  if(wrong)
    return 0;
  if(peek() != ')')
    return fail("a ) is missing");
  pos++;
  parse_redirs(n);
  return n;
}

static struct node *
parse_part(void)
{
  if(peek() == '(')
    return parse_group();
  struct node *n = new_node(N_CMD, 0, 0);
  char *argv[MAXARG];
  int argc = 0;
  for(char c = peek(); !wrong && c && strchr("|&;()", c) == 0; c = peek()) {
    if(c == '<' || c == '>')
      parse_redir(n);
    else if(argc == MAXARG - 1)
      fail("too many words");
    else
      argv[argc++] = parse_word();
  }
  if(wrong)
    return 0;
  if(argc == 0)
    return fail("a command is missing");
  argv[argc++] = 0;
  n->argv = args + narg;
  memmove(n->argv, argv, argc * sizeof(argv[0]));
  narg += argc;
  return n;
}

// Parts up to something that is no |.  A chain leans to the right, and is made
// by a loop: a long line must not use up the stack.
static struct node *
parse_job(void)
{
  struct node *first = 0, **tail = &first;
  for(;;) {
    struct node *n = parse_part();
    if(wrong || peek() != '|') {
      *tail = n;
      return first;
    }
    pos++;
    n = *tail = new_node(N_PIPE, n, 0);
    tail = &n->right;
  }
}

// Jobs up to the end of the line or a ), as a chain like a job's.
static struct node *
parse_line(void)
{
  struct node *first = 0, **tail = &first;
  for(;;) {
    struct node *n = parse_job();
    char c = wrong ? 0 : peek();
    if(c == '&')
      n = new_node(N_BACK, n, 0);
    if(c == ';' || c == '&')
      pos++;
    if((c != ';' && c != '&') || peek() == 0 || peek() == ')') {
      *tail = n;
      return first;
    }
    n = *tail = new_node(N_LIST, n, 0);
    tail = &n->right;
  }
}

// The tree of line; 0 if it is empty or wrong.
static struct node *
parse(void)
{
  pos = line;
  nnode = nredir = narg = ntext = depth = 0;
  wrong = 0;
  if(peek() == 0)
    return 0;
  struct node *n = parse_line();
  if(!wrong && peek() != 0)
    fail("a ) too many, or a word behind one");
  return wrong ? 0 : n;
}

// ---- running ----

// fork, with the message; -1 if there is no process left.
static int
fork1(void)
{
  int pid = fork();
  if(pid < 0)
    printf(2, "sh: fork: no process left\n");
  return pid;
}

// Status of child pid once it has ended.  Ctrl-C ends it, if we have the terminal.
static int
await(int pid)
{
  int status = 1;
  if(pid < 0)
    return 1;
  if(interactive)
    ttyctl(0, TTY_FG, pid);
  if(waitpid(pid, &status, 0) < 0)
    status = 1;
  if(interactive)
    ttyctl(0, TTY_FG, 0);
  return status < 0 ? KILLED : status;
}

static int
cd(char **argv)
{
  const char *dir = argv[1] ? argv[1] : "/";
  if(chdir(dir) == 0)
    return 0;
  printf(2, "sh: cd: %s: no such directory\n", dir);
  return 1;
}

// exit [STATUS]
static int
leave(char **argv)
{
  exits(argv[1] ? atoi(argv[1]) : 0);
}

// What the shell does itself, since a child could not do it for it.
static const struct builtin {
  const char *name;
  int (*run)(char **argv);
} builtins[] = {{"cd", cd}, {"exit", leave}};

static const struct builtin *
builtin(const char *name)
{
  for(uint i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
    if(strcmp(name, builtins[i].name) == 0)
      return &builtins[i];
  return 0;
}

// Become the program, or say why not and end.
static void __attribute__((noreturn))
run_program(char **argv)
{
  static char path[NLINE + 1];
  exec(argv[0], argv);
  const char *why = "not found";
  int fd = open(argv[0], O_RDONLY);
  if(strchr(argv[0], '/') == 0) {
    path[0] = '/';
    strcpy(path + 1, argv[0]);
    exec(path, argv);
    if(fd < 0)
      fd = open(path, O_RDONLY);
  }
  if(fd >= 0)
    why = "cannot run";
  printf(2, "sh: %s: %s\n", argv[0], why);
  exits(NOT_FOUND);
}

static void
redirect(const struct redir *r)
{
  for(; r; r = r->next) {
    close(r->fd);
    int fd = open(r->file, r->flags); // the lowest free one: r->fd, unless 0 is closed too
    if(fd < 0) {
      printf(2, "sh: %s: cannot open\n", r->file);
      exits(1);
    }
    if(fd != r->fd) {
      dup(fd);
      close(fd);
    }
  }
}

// A job in the background must not take what is typed for others.
static void
leave_terminal(void)
{
  int fd = ttyctl(0, TTY_SIZE, 0) >= 0 ? open("/dev/null", O_RDONLY) : -1;
  if(fd < 0)
    return;
  close(0);
  dup(fd);
  close(fd);
}

static void run_child(struct node *) __attribute__((noreturn));

// A child that runs n with its descriptor fd moved to the pipe's end p[fd].
static int
pipe_end(struct node *n, int *p, int fd)
{
  int pid = fork1();
  if(pid != 0)
    return pid;
  close(fd);
  dup(p[fd]);
  close(p[0]);
  close(p[1]);
  run_child(n);
}

// Both sides at once; the status is the right one's.
static int
run_pipe(struct node *n)
{
  int p[2];
  if(pipe(p) < 0) {
    printf(2, "sh: pipe: no file left\n");
    return 1;
  }
  int left = pipe_end(n->left, p, 1);
  int right = pipe_end(n->right, p, 0);
  close(p[0]);
  close(p[1]);
  int status = await(right);
  await(left);
  return status;
}

// We are a child, made to run n: do so and end.
static void
run_child(struct node *n)
{
  interactive = 0;
  if(script >= 0)
    close(script);
  script = -1;
  redirect(n->redirs);
  const struct builtin *b = n->kind == N_CMD ? builtin(n->argv[0]) : 0;
  if(b)
    exits(b->run(n->argv));
  if(n->kind == N_CMD)
    run_program(n->argv);
  if(n->kind == N_PIPE)
    exits(run_pipe(n));
  exits(run(n->left)); // N_SUB
}

// Run a tree; its status.
static int
run(struct node *n)
{
  for(; n->kind == N_LIST; n = n->right)
    run(n->left);
  const struct builtin *b = n->kind == N_CMD ? builtin(n->argv[0]) : 0;
  if(b)
    return b->run(n->argv);
  int pid = fork1();
  if(pid == 0 && n->kind == N_BACK)
    leave_terminal();
  if(pid == 0)
    run_child(n->kind == N_BACK ? n->left : n);
  if(n->kind == N_BACK)
    return pid < 0;
  return await(pid);
}

static int
run_line(void)
{
  struct node *n = parse();
  if(wrong) {
    printf(2, "sh: %s\n", wrong);
    return BAD_LINE;
  }
  return n ? run(n) : 0;
}

// ---- reading ----

static void
too_long(void)
{
  printf(2, "sh: line longer than %d characters\n", NLINE - 1);
}

// The next line of fd into line, without its newline; 0 at the end.  One byte
// a read: what follows may be meant for the commands.  A line that is too long is
// read to its end and left out, with a message.
static int
read_line(int fd)
{
  int n = 0, got;
  char c;
  while((got = read(fd, &c, 1)) == 1 && c != '\n') {
    if(n < NLINE - 1)
      line[n] = c;
    n++;
  }
  if(got != 1 && n == 0)
    return 0;
  if(n >= NLINE) {
    too_long();
    n = 0;
  }
  line[n] = 0;
  return 1;
}

// The same from a terminal.  The editor takes more than a line may have, so that
// one that is too long can be seen and made shorter.
static int
type_line(void)
{
  static char typed[2 * NLINE];
  int n = edit_line("$ ", typed, sizeof(typed));
  if(n < 0)
    printf(2, "\n");
  if(n >= NLINE)
    too_long();
  strcpy(line, n < NLINE ? typed : "");
  return n >= 0;
}

// Run what fd has to say, line by line; the last status.
static int
run_file(int fd)
{
  int status = 0, ignored;
  for(;;) {
    while(waitpid(-1, &ignored, WNOHANG) > 0) // background jobs that have ended
      ;
    if(interactive ? !type_line() : !read_line(fd))
      return status;
    status = run_line();
  }
}

int
main(int argc, char *argv[])
{
  if(argc == 3 && strcmp(argv[1], "-c") == 0) {
    if(strlen(argv[2]) >= NLINE) {
      too_long();
      exits(BAD_LINE);
    }
    strcpy(line, argv[2]);
    exits(run_line());
  }
  if(argc > 2 || (argc == 2 && argv[1][0] == '-')) {
    printf(2, "usage: sh [FILE | -c LINE]\n");
    exits(BAD_LINE);
  }
  if(argc == 1) {
    interactive = ttyctl(0, TTY_FG, 0) >= 0; // and from now on each child is a job
    exits(run_file(0));
  }
  script = open(argv[1], O_RDONLY);
  if(script < 0) {
    printf(2, "sh: %s: cannot open\n", argv[1]);
    exits(NOT_FOUND);
  }
  exits(run_file(script));
}
