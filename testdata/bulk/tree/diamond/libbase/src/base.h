#ifndef BASE_H
#define BASE_H

/* Prints the version of this library and of those that it calls. */
void base_versions(void);

#endif
