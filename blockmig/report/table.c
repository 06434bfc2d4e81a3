#include "blockmig/report/table.h"

struct row {
	char **cells; /* NULL: a remark */
	char *remark;
};

struct table {
	guint columns;
	GPtrArray *rows; /* of struct row *; the first one has the heads */
};

static void row_free(void *pointer)
{
	struct row *row = pointer;

	g_strfreev(row->cells);
	g_free(row->remark);
	g_free(row);
}

struct table *table_new(const char *const *heads)
{
	struct table *table = g_new0(struct table, 1);

	table->columns = g_strv_length((char **)heads);
	table->rows = g_ptr_array_new_with_free_func(row_free);
	table_add(table, heads);
	return table;
}

void table_free(struct table *table)
{
	g_ptr_array_unref(table->rows);
	g_free(table);
}

void table_add(struct table *table, const char *const *cells)
{
	struct row *row = g_new0(struct row, 1);

	row->cells = g_new0(char *, table->columns + 1);
	for (guint i = 0; i < table->columns; i++)
		row->cells[i] = g_strdup(cells[i]);
	g_ptr_array_add(table->rows, row);
}

void table_add_remark(struct table *table, const char *text)
{
	struct row *row = g_new0(struct row, 1);

	row->remark = g_strdup(text);
	g_ptr_array_add(table->rows, row);
}

/* On a terminal, a character of UTF-8 takes one column, whatever its bytes. */
static gsize width(const char *text)
{
	return g_utf8_validate(text, -1, NULL) ? (gsize)g_utf8_strlen(text, -1) : strlen(text);
}

static gsize column_width(const struct table *table, guint column)
{
	gsize widest = 0;

	for (guint i = 0; i < table->rows->len; i++) {
		const struct row *row = g_ptr_array_index(table->rows, i);

		if (row->cells)
			widest = MAX(widest, width(row->cells[column]));
	}
	return widest;
}

static void append_row(GString *text, const struct row *row, const gsize *widths, guint columns)
{
	for (guint i = 0; i < columns; i++) {
		g_string_append(text, row->cells[i]);
		for (gsize pad = width(row->cells[i]); i + 1 < columns && pad < widths[i] + 2;
		     pad++)
			g_string_append_c(text, ' ');
	}
}

char *table_format(const struct table *table)
{
	g_autofree gsize *widths = g_new0(gsize, table->columns);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < table->columns; i++)
		widths[i] = column_width(table, i);
	for (guint i = 0; i < table->rows->len; i++) {
		const struct row *row = g_ptr_array_index(table->rows, i);

		if (row->cells)
			append_row(text, row, widths, table->columns);
		else
			g_string_append_printf(text, "    %s", row->remark);
		g_string_append_c(text, '\n');
	}
	return g_string_free(text, FALSE);
}
