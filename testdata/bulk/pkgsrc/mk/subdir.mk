# Directories of directories.

show-subdir-var: .PHONY
	@echo ${SUBDIR:Q}
