// A line from a person at the console (edit.c).
#ifndef EDIT_H
#define EDIT_H

// Read a line into line, at most max - 1 characters and a NUL: its length, or -1
// when the input is over.  The console is in cooked mode again afterwards.
int edit_line(const char *prompt, char *line, int max);

#endif
