#ifndef FOUR_H
#define FOUR_H

/* Prints the version of this library and of those that it calls. */
void four_versions(void);

#endif
