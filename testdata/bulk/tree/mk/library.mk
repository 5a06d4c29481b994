# Builds and installs the shared library lib$(NAME) from $(NAME).c and $(NAME).h, linked with $(LIBS).
# Its version is that of the package; programs need it by the name lib$(NAME).so.$(MAJOR).
MAJOR ?= 1
VERSION = $(lastword $(subst -, ,$(PKGNAME)))
LIBRARY = lib$(NAME).so.$(MAJOR)

all: $(LIBRARY)

$(LIBRARY): $(NAME).c $(NAME).h
	$(CC) $(CPPFLAGS) $(CFLAGS) -DVERSION='"$(VERSION)"' -fPIC -shared -Wl,-soname,$@ -o $@ $(NAME).c $(LDFLAGS) $(LIBS)

install: all
	mkdir -p $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	install -m 755 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/$(LIBRARY)
	ln -s $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/lib$(NAME).so
	install -m 644 $(NAME).h $(DESTDIR)$(PREFIX)/include/$(NAME).h

.PHONY: all install
