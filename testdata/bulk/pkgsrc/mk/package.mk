# A package: the targets of pkgsrc that a bulk build makes, with the demands of pkgsrc's guide and of pbulk. What is built is a
# file with a line for the package, below those of the packages that it needs; the binary package is an archive with it.
#
#   - nothing works while PKG_PATH is set;
#   - who builds is not root where somebody else is there: root only installs, unless the package says user-destdir, and packs;
#   - who builds has a name, and so has the group;
#   - a missing dependency is not built on the way, and nobody is asked (BATCH);
#   - create-usergroup makes an account, before the phase that USERGROUP_PHASE names.
#
# A package finds its patches in PATCHDIR, which may be that of another location. SCAN_DEPENDS names makefiles only.

CATEGORIES=	${.CURDIR:H:T}
MAINTAINER?=	tree@example.org
USE_DESTDIR?=	yes
FILE=		opt/pkg/share/${PKGNAME:C/-[^-]*$//}
WRKDIR=		${WRKOBJDIR}/${.CURDIR:T}${CHOICE}
DESTDIR=	${WRKDIR}/.destdir
STAGE_PKGFILE=	${WRKDIR}/.packages/${PKGNAME}.tgz
DISTINFO_FILE?=	${.CURDIR}/distinfo
PATCHDIR?=	${.CURDIR}/patches
FILESDIR?=	${.CURDIR}/files
PKGDIR?=	${.CURDIR}
_PBULK_SCAN_DEPENDS=	${.MAKE.MAKEFILES}
OPSYS=		Stand-in
OS_VERSION=	1.0
PKGSRC_COMPILER=	gcc
_ALLFILES=	${DISTFILES:@file@${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}@}

# What every target looks at first. As in pkgsrc it is not what is wrong with a package that ends a scan.
DEMANDS=	test -z "$$PKG_PATH" || { echo 'Please unset PKG_PATH before doing pkgsrc work!'; exit 1; }; \
		test "${BATCH}" = 1 || { echo 'Somebody would be asked.'; exit 1; }; \
		test "${DEPENDS_TARGET}" = /nonexistent || { echo 'Dependencies would be built.'; exit 1; }
UNPRIVILEGED=	${DEMANDS}; test "$$(id -u)" != 0 || { echo '${.TARGET}: not as root'; exit 1; }; \
		id -nu > /dev/null && id -ng > /dev/null || { echo '${.TARGET}: who builds has no name'; exit 1; }
PRIVILEGED=	${DEMANDS}; test "$$(id -u)" = 0 || test "${ONE_ID}" = yes || { echo '${.TARGET}: only as root'; exit 1; }
.if ${USE_DESTDIR} == "user-destdir"
INSTALLER=	${UNPRIVILEGED}
.else
INSTALLER=	${PRIVILEGED}
.endif

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
	@echo USE_DESTDIR=${USE_DESTDIR}
	@echo BOOTSTRAP_PKG=${BOOTSTRAP_PKG}
	@echo USERGROUP_PHASE=${USERGROUP_PHASE}
	@echo SCAN_DEPENDS=${_PBULK_SCAN_DEPENDS:Q}
	@echo PBULK_WEIGHT=100
.  if defined(CHOICE)
	@echo MULTI_VERSION=" CHOICE=${CHOICE}"
.  endif
.endif

show-var: .PHONY
	@echo ${${VARNAME}}

checksum: .PHONY
	@${UNPRIVILEGED}
	@test -d ${DISTDIR}
.for file in ${_ALLFILES}
	@test -e ${DISTDIR}/${file} || { echo 'fetch: Unable to fetch expected file ${file}'; exit 1; }
.endfor

create-usergroup: .PHONY
	@${PRIVILEGED}
	@echo made > /var/db/account-of-${PKGNAME}

clean: .PHONY
	@rm -rf ${WRKDIR}

configure: .PHONY
	@${UNPRIVILEGED}
.if !empty(USERGROUP_PHASE)
	@test -e /var/db/account-of-${PKGNAME}
.endif
	@mkdir -p ${WRKDIR}

all: .PHONY
	@${UNPRIVILEGED}
	@${BUILD:Utrue}
	@cat ${NEEDS:@name@/opt/pkg/share/${name}@} /dev/null > ${WRKDIR}/file
	@echo ${PKGNAME} of ${.CURDIR:T} >> ${WRKDIR}/file
	@test ! -d ${PATCHDIR} || cat ${PATCHDIR}/patch-* >> ${WRKDIR}/file

stage-install: .PHONY
	@${INSTALLER}
	@mkdir -p ${DESTDIR}/${FILE:H}
	@cp ${WRKDIR}/file ${DESTDIR}/${FILE}
.if ${USE_DESTDIR} != "user-destdir" && empty(ONE_ID)
	@chown 7:7 ${DESTDIR}/${FILE}
.endif

stage-package-create: .PHONY
	@${PRIVILEGED}
	@mkdir -p ${STAGE_PKGFILE:H}
	@{ echo @name ${PKGNAME}; for name in `ls /var/db/pkg 2> /dev/null`; do echo @blddep $$name; done; } > ${DESTDIR}/+CONTENTS
	@tar -C ${DESTDIR} --sort=name --owner=0 --group=0 --mtime=@${SOURCE_DATE_EPOCH} -cf - +CONTENTS ${FILE} \
	    | gzip -n > ${STAGE_PKGFILE}
