#ifndef FIVE_H
#define FIVE_H

/* Prints the version of this library and of those that it calls. */
void five_versions(void);

#endif
