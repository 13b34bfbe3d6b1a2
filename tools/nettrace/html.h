// What the files of nettrace html share: html.c (the page), html_page.c (its style and
// script), html_svg.c (the bare picture), two_html.c (the page of two machines).
#ifndef NETTRACE_HTML_H
#define NETTRACE_HTML_H

#include "tool.h"

extern const char colors_css[], checks_js[], page_css[], page_js[], two_css[], two_js[];

// One event of a journey; side: of two machines, the other one is 1.
struct point {
  u32 pkt, side, x, y;
};

int utf8_whole(const char *s);
void put_xml(FILE *f, const char *s);
const char *state_fill(const char *state);
void put_journeys(struct point *v, u32 n, void (*begin)(FILE *f, const struct point *p), FILE *f);
void svg_write(const struct session *s, const struct selection *sel, const struct cable *cable, FILE *f);

#endif
