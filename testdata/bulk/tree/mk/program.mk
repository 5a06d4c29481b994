# Builds and installs the program $(NAME) from $(NAME).c, linked with $(LIBS). Its version is that of the package.
VERSION = $(lastword $(subst -, ,$(PKGNAME)))

all: $(NAME)

$(NAME): $(NAME).c
	$(CC) $(CPPFLAGS) $(CFLAGS) -DVERSION='"$(VERSION)"' -o $@ $(NAME).c $(LDFLAGS) $(LIBS)

install: all
	mkdir -p $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(NAME) $(DESTDIR)$(PREFIX)/bin/$(NAME)

.PHONY: all install
