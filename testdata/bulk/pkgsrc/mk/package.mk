# A package: the targets of pkgsrc that a bulk build makes. What is built is a file with a line for the package, below those of
# the packages that it needs; the binary package is an archive with it.

CATEGORIES=	${.CURDIR:H:T}
MAINTAINER?=	tree@example.org
FILE=		opt/pkg/share/${PKGNAME:C/-[^-]*$//}
WRKDIR=		${WRKOBJDIR}/${.CURDIR:T}${CHOICE}

pbulk-index: .PHONY
.if defined(PBULK_CHOICES) && !defined(CHOICE)
.  for choice in ${PBULK_CHOICES}
	@${MAKE} pbulk-index CHOICE=${choice}
.  endfor
.else
	@echo PKGNAME=${PKGNAME}
	@echo ALL_DEPENDS=${DEPENDS:Q}
	@echo PKG_SKIP_REASON=${PKG_SKIP_REASON:Q}
	@echo PKG_FAIL_REASON=${PKG_FAIL_REASON:Q}
	@echo NO_BIN_ON_FTP=${NO_BIN_ON_FTP:Q}
	@echo RESTRICTED=${RESTRICTED:Q}
	@echo CATEGORIES=${CATEGORIES:Q}
	@echo MAINTAINER=${MAINTAINER:Q}
	@echo USE_DESTDIR=yes
	@echo BOOTSTRAP_PKG=
	@echo USERGROUP_PHASE=
	@echo SCAN_DEPENDS=${.CURDIR}/Makefile ${.CURDIR}/../../mk/package.mk
	@echo PBULK_WEIGHT=100
.  if defined(CHOICE)
	@echo MULTI_VERSION=" CHOICE=${CHOICE}"
.  endif
.endif

checksum: .PHONY
	@test -d ${DISTDIR}

configure: .PHONY
	@mkdir -p ${WRKDIR}

all: .PHONY
	@${BUILD:Utrue}
	@cat ${NEEDS:@name@/opt/pkg/share/${name}@} /dev/null > ${WRKDIR}/file
	@echo ${PKGNAME} of ${.CURDIR:T} >> ${WRKDIR}/file

install: .PHONY
	@mkdir -p ${WRKDIR}/root/${FILE:H}
	@cp ${WRKDIR}/file ${WRKDIR}/root/${FILE}

package: .PHONY
	@mkdir -p ${PACKAGES}/All
	@tar -C ${WRKDIR}/root --sort=name --owner=0 --group=0 --mtime=@${SOURCE_DATE_EPOCH} -cf - ${FILE} \
	    | gzip -n > ${PACKAGES}/All/${PKGNAME}.tgz
