#ifndef STATIC_H
#define STATIC_H

const char *static_name(void);
const char *static_version(void);

#endif
