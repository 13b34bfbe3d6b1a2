// What the files of nettrace html share: html.c (the page), html_page.c (its style and
// script), html_svg.c (the bare picture).
#ifndef NETTRACE_HTML_H
#define NETTRACE_HTML_H

extern const char page_css[], page_js[];

int utf8_whole(const char *s);
void svg_write(const struct session *s, const struct selection *sel, FILE *f);

#endif
