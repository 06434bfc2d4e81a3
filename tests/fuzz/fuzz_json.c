/* The job's document and an image's: what was read and written is read as the same. */
#include "blockmig/move/job.h"
#include "tests/fuzz/fuzz.h"

static void check_job(const char *text)
{
	g_autoptr(GError) error = NULL;
	AUTO(job) job = job_from_json(text, &error);

	fuzz_require(!job == (error != NULL));
	if (!job)
		return;
	g_autofree char *written = job_to_json(job);
	AUTO(job) again = job_from_json(written, NULL);

	fuzz_require(again != NULL);
	g_autofree char *rewritten = job_to_json(again);

	fuzz_require(g_str_equal(written, rewritten));
	for (guint i = 0; i < job->overlays->len; i++)
		fuzz_require(job_overlay(job, i)->path != NULL);
	fuzz_require(job->source && job->destination);
	fuzz_require(source_equal(&job->source->source, &again->source->source));
}

static void check_source(const char *text)
{
	g_autoptr(GError) error = NULL;
	AUTO(source) source = source_from_json(text, &error);

	fuzz_require(!source == (error != NULL));
	if (!source)
		return;
	g_autofree char *written = source_to_json(source);
	AUTO(source) again = source_from_json(written, NULL);

	g_free(source_text(source));
	g_free(source_qemu_name(source, NULL));
	fuzz_require(again != NULL && source_equal(source, again));
	fuzz_require(again->slice_bytes == source->slice_bytes);
	fuzz_require(again->slice_offset == source->slice_offset);
}

/* A path on a file system may be any bytes. */
static void check_path(const char *path)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);
	g_autofree char *written = source_to_json(source);
	AUTO(source) again = written ? source_from_json(written, NULL) : NULL;

	fuzz_require(!written || (again && source_equal(source, again)));
	fuzz_require(written || !g_utf8_validate(path, -1, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *text = fuzz_input_text(&input);

	check_job(text);
	check_source(text);
	check_path(text);
	return 0;
}
