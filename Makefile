# blockmig: plain GNU make, everything below build/.
#
#   make            build/blockmig
#   make demo       install what is missing, build, and show a whole move
#   make check      install what is missing, build, and run every test
#
# A flavour (FLAVOUR=asan or tsan, or the check-asan and check-tsan targets) has a
# build folder of its own, so changing between flavours needs no clean.

PREFIX  ?= /usr/local
UNITS   ?= $(PREFIX)/lib/systemd/system
FLAVOUR ?=
BUILD   := build$(if $(FLAVOUR),/$(FLAVOUR))
VERSION := 0.1.0

CC      ?= cc
PKGS    := gio-2.0 gio-unix-2.0 libvirt libnfs libiscsi libnbd libcrypto sqlite3 libxml-2.0 jansson libsystemd
OPT     ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	   -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef
WERROR  ?=

SANITIZE_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANITIZE_tsan := -fsanitize=thread -fno-omit-frame-pointer
SANITIZE_coverage := --coverage -O0 -fno-inline
SANITIZE_fuzz := -fsanitize=fuzzer-no-link $(SANITIZE_asan)
SANITIZE      := $(SANITIZE_$(FLAVOUR))

PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
ALL_CFLAGS = -std=gnu11 $(OPT) $(WARN) $(WERROR) $(SANITIZE) -I. -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
	     -pthread $(PKG_CFLAGS) $(CFLAGS)
ALL_LIBS   = $(SANITIZE) -pthread $(PKG_LIBS) $(LDFLAGS)

ROOMS   := common transports verify blockmig
SOURCES := $(filter-out blockmig/main.c,$(shell find $(ROOMS) -name '*.c' | LC_ALL=C sort))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
LIBRARY := $(BUILD)/libblockmig.a

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_SHARED  := $(filter-out $(UNIT_SOURCES),$(wildcard tests/unit/*.c))
FAKED_SOURCES := $(wildcard tests/faked/test_*.c)
FAKED_SHARED  := $(filter-out $(FAKED_SOURCES),$(wildcard tests/faked/*.c))
# What tests/faked/disturb.c stands in front of.
comma := ,
FAKED_WRAPPED := handle_open handle_read handle_write handle_zero handle_try_zero handle_resize \
	handle_flush image_create image_remove ledger_end ledger_pass_find statvfs g_dir_open deadline_passed \
	g_get_real_time
FAKED_LDFLAGS := $(FAKED_WRAPPED:%=-Wl$(comma)--wrap=%)
FUZZ_TARGETS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
UNIT_TESTS    := $(UNIT_SOURCES:%.c=$(BUILD)/%) $(FAKED_SOURCES:%.c=$(BUILD)/%)

# V=1 shows the commands themselves.
Q   := $(if $(V),,@)
say  = @echo "  $(1)  $(@:$(CURDIR)/%=%)"

.PHONY: all deps check check-unit check-e2e check-asan check-tsan check-mutants check-matrix coverage fuzz fuzz-run demo bench lab lint format install uninstall clean
.SECONDARY:

all: $(BUILD)/blockmig

$(BUILD)/blockmig: $(BUILD)/obj/blockmig/main.o $(LIBRARY)
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)

$(LIBRARY): $(OBJECTS)
	$(call say,AR)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# A test's own objects come before the library, so that a fake of the same name wins.
$(BUILD)/tests/unit/test_%: $(BUILD)/obj/tests/unit/test_%.o $(UNIT_SHARED:%.c=$(BUILD)/obj/%.o) $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -o $@ $^ $(shell pkg-config --libs check) $(ALL_LIBS)

# Tests of the move over a fake session and memory images: their fakes stand for the real rooms.
$(BUILD)/tests/faked/test_%: $(BUILD)/obj/tests/faked/test_%.o $(FAKED_SHARED:%.c=$(BUILD)/obj/%.o) \
		$(UNIT_SHARED:%.c=$(BUILD)/obj/%.o) $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -o $@ $^ $(FAKED_LDFLAGS) $(shell pkg-config --libs check) $(ALL_LIBS)

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $^ $(ALL_LIBS)

# Preloaded into blockmig by the end-to-end tests.
$(BUILD)/tests/e2e/hook.so: tests/e2e/hook.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -shared -fPIC $(OPT) $(WARN) -D_GNU_SOURCE $(PKG_CFLAGS) -o $@ $< -ldl -lvirt -lsqlite3

-include $(OBJECTS:.o=.d) $(BUILD)/obj/blockmig/main.d $(UNIT_SOURCES:%.c=$(BUILD)/obj/%.d) \
	 $(UNIT_SHARED:%.c=$(BUILD)/obj/%.d) $(FAKED_SOURCES:%.c=$(BUILD)/obj/%.d) \
	 $(FAKED_SHARED:%.c=$(BUILD)/obj/%.d) $(FUZZ_TARGETS:$(BUILD)/%=$(BUILD)/obj/%.d)

# Installs the Debian packages that are missing; says which and why; asks sudo when not root.
deps:
	@tests/deps

check: deps
	@$(MAKE) --no-print-directory all lab
	@$(MAKE) --no-print-directory check-unit check-e2e

# Every unit test program; each has its own laboratory or folder where it needs one.
check-unit: $(UNIT_TESTS)
	@tests/run-unit $(UNIT_TESTS)

check-asan:
	@$(MAKE) --no-print-directory FLAVOUR=asan check-unit

check-tsan:
	@G_SLICE=always-malloc $(MAKE) --no-print-directory FLAVOUR=tsan check-unit

# Lines and branches that the tests reach: all unit tests, and the end-to-end tests of the
# commands that have none.  The script has the rules.  About a quarter of an hour on two cores.
COVERAGE_E2E := evacuate:.*(four_guests|could_not_leave)|datastores:.*listed|refusals:.*(disk_kinds|destinations)|recover:.*aborted|pairs:.*local_to_nfs

coverage: deps
	@find $(BUILD)/coverage -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory lab $(BUILD)/tests/e2e/hook.so
	@$(MAKE) --no-print-directory FLAVOUR=coverage all check-unit
	@BLOCKMIG=$(abspath $(BUILD))/coverage/blockmig tests/e2e/run '$(COVERAGE_E2E)'
	@tests/coverage $(BUILD)/coverage

# Bugs planted one at a time into a copy of the tree: the tests must notice each.
check-mutants:
	@tests/mutants

# Each target for FUZZ_SECONDS; what crashed lies in build/fuzz.
fuzz:
	@$(MAKE) --no-print-directory FLAVOUR=fuzz CC=clang fuzz-run

fuzz-run: $(FUZZ_TARGETS)
	@tests/fuzz/run $(FUZZ_TARGETS)

check-e2e: all lab $(BUILD)/tests/e2e/hook.so
	@tests/e2e/run

# Every cell of the fault matrix; `make check` has those of the fakes and some of the others.
check-matrix: all lab $(BUILD)/tests/e2e/hook.so $(BUILD)/tests/faked/test_matrix
	@tests/matrix/run

# What the laboratory's guest is made of: see tests/lab.
lab:
	@$(MAKE) --no-print-directory -C tests/lab BUILD=$(abspath build)/lab

demo: deps
	@$(MAKE) --no-print-directory all lab
	@tests/demo

# Ratios of blockmig to qemu-img and others; the script's head says how to ask for less.
bench: deps
	@$(MAKE) --no-print-directory all
	@BLOCKMIG=$(abspath $(BUILD))/blockmig tests/bench
	@BLOCKMIG=$(abspath $(BUILD))/blockmig tests/bench-evacuate

lint:
	@tests/lint

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(UNITS)
	install -m 0755 $(BUILD)/blockmig $(DESTDIR)$(PREFIX)/bin/blockmig
	install -m 0644 blockmig/blockmig.1 $(DESTDIR)$(PREFIX)/share/man/man1/blockmig.1
	install -m 0644 dist/blockmig-evacuate@.timer $(DESTDIR)$(UNITS)
	sed 's|@BINDIR@|$(PREFIX)/bin|' dist/blockmig-evacuate@.service.in \
		>$(DESTDIR)$(UNITS)/blockmig-evacuate@.service
	chmod 0644 $(DESTDIR)$(UNITS)/blockmig-evacuate@.service

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/blockmig $(DESTDIR)$(PREFIX)/share/man/man1/blockmig.1 \
		$(DESTDIR)$(UNITS)/blockmig-evacuate@.service $(DESTDIR)$(UNITS)/blockmig-evacuate@.timer

clean:
	rm -rf build
