/*
 * A copy between a file and a LUN of a private target, through a proxy (proxy.h): what
 * the tests of copies over a target that misbehaves start from.
 *
 * Both images are filled anew for each copy, and differ everywhere before it: what was
 * not copied never looks as if it was.
 */
#ifndef TESTS_UNIT_LUN_COPYING_H
#define TESTS_UNIT_LUN_COPYING_H

#include "tests/unit/copying.h"
#include "tests/unit/proxy.h"

enum {
	LUN_PROXY_PORT = 3261,
	LUN_TARGET_PORT = 3260,
	LUN_STALL_MS = 1000,
	LUN_RETRY_MS = 1500,

	/* Operations of SBC, and status codes of SAM */
	LUN_TEST_READY = 0x00,
	LUN_READ = 0x88,
	LUN_WRITE = 0x8a,
	LUN_SYNCHRONIZE = 0x91,
	LUN_WRITE_SAME = 0x93,
	LUN_CHECK_CONDITION = 0x02,
	LUN_BUSY = 0x08,
	LUN_TASK_SET_FULL = 0x28,
};

struct lun_copying {
	struct copying copying;
	struct transport_config config;
	struct proxy *proxy; /* NULL: none was started */
	int lun;
	guint8 *content;
	gsize content_bytes;
	gboolean from_lun;
	gboolean unproven; /* no read-back: what the window does must do alone */
	char *file;
};

/* Once for each test; lun_copying_end frees it all. */
void lun_copying_begin(struct lun_copying *mine, int lun, gsize content_bytes, gboolean from_lun);
/* Another copy, with another ledger and content: @seed. */
void lun_copying_again(struct lun_copying *mine, guint seed);
/* Whether this copy and those after it are read back; at first they are. */
void lun_copying_prove(struct lun_copying *mine, gboolean prove);
/* Makes a part of the source zeros; of a file, or of a LUN that is not thin. */
void lun_copying_zero(struct lun_copying *mine, gsize offset, gsize count);
void lun_copying_end(struct lun_copying *mine);

/* Whether the destination holds the content. */
gboolean lun_copying_is_equal(const struct lun_copying *mine);
/*
 * Runs it: all is equal, proven where asked, and the read-back found nothing to mend; or
 * it had to, where bits flip or what was never stored is acknowledged; or it fails with
 * this code and words, in limited time.
 */
void lun_copying_assert_copied(struct lun_copying *mine);
void lun_copying_assert_mended(struct lun_copying *mine);
void lun_copying_assert_fails(struct lun_copying *mine, enum blockmig_error code,
			      const char *words);
/* Of one that has failed: its message has these words; it has the LUN's URL. */
void lun_copying_assert_says(const struct lun_copying *mine, const char *words);
void lun_copying_assert_names_it(const struct lun_copying *mine);

#endif
