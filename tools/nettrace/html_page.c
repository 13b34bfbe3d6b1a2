// The page's style and script, taken into the program as they are.
//
// html.c writes them into every page.  Their own files are page/page.css and
// page/page.js: the Makefile knows that this object depends on them.
#include "tool.h"
#include "html.h"

// clang-format off
__asm__(".pushsection .rodata\n"
        ".global page_css, page_js\n"
        "page_css: .incbin \"tools/nettrace/page/page.css\"\n .byte 0\n"
        "page_js: .incbin \"tools/nettrace/page/page.js\"\n .byte 0\n"
        ".popsection\n");
// clang-format on
