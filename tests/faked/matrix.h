/*
 * The fault matrix as tests/matrix/table has it, for its cells on the fakes.
 *
 * A row is a place in a move, a column a fault.  matrix_move() lets the fault of a column
 * happen once, at a moment of the row that is counted from its beginning: 0 is where the
 * row is entered, the others are behind each call of it that changes something.
 */
#ifndef FAKED_MATRIX_H
#define FAKED_MATRIX_H

#include "tests/faked/moves.h"

struct matrix_cell {
	char *row, *column;
	/* How the move may end on the fakes, a letter each; "": no cell of theirs. */
	char *outcomes;
	gboolean is_void; /* a reason stands there alone: it cannot be */
};

/* GPtrArray of struct matrix_cell *; aborts where rows and phases do not agree. */
GPtrArray *matrix_read(const char *path);

/* A fault that can happen on the fakes. */
struct matrix_fault {
	const char *name;
	enum domain_run from;
	gboolean comes_back; /* what failed may be there at the next try */
	gboolean is_met;     /* it is felt only by what the program does: disturb_met() tells */
	void (*strike)(void);
};

/* What became of a fault; in memory that is shared with the process that moves. */
struct matrix_strike {
	gboolean done;
	enum domain_run then; /* as the guest is to be in the end */
};
/* NULL: there is none of that name on the fakes. */
const struct matrix_fault *matrix_fault_find(const char *name);

/* The scene and the move's own troubles that lead into the row. */
void matrix_open(const char *row, const struct matrix_fault *fault, guint number);
/* A move with the fault at this moment, in the process that calls. */
gboolean matrix_move(struct scene *scene, GError **error);
/* For matrix_move to come. */
void matrix_arm(const char *row, const struct matrix_fault *fault, guint moment,
		struct matrix_strike *strike);

#endif
