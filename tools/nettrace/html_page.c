// The page's style and script, taken into the program as they are.
//
// html.c writes them into every page, two_html.c those of two machines.  Their own
// files stand in page/: the Makefile knows that this object depends on them.
#include "tool.h"
#include "html.h"

// clang-format off
__asm__(".pushsection .rodata\n"
        ".global colors_css, checks_js, page_css, page_js, two_css, two_js\n"
        "colors_css: .incbin \"tools/nettrace/page/colors.css\"\n .byte 0\n"
        "checks_js: .incbin \"tools/nettrace/page/checks.js\"\n .byte 0\n"
        "page_css: .incbin \"tools/nettrace/page/page.css\"\n .byte 0\n"
        "page_js: .incbin \"tools/nettrace/page/page.js\"\n .byte 0\n"
        "two_css: .incbin \"tools/nettrace/page/two.css\"\n .byte 0\n"
        "two_js: .incbin \"tools/nettrace/page/two.js\"\n .byte 0\n"
        ".popsection\n");
// clang-format on
