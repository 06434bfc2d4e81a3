#include "blockmig/cmd/command.h"

#include "blockmig/cmd/outcome.h"

#include <unistd.h>

void command_print_help(const struct command *command, FILE *file)
{
	g_autofree char *help = options_help(command);

	fputs(help, file);
}

static int run_with(const struct command *command, struct options *options, GError *refusal)
{
	g_autoptr(GError) error = refusal;
	int status = error ? 0 : command->run(options, &error);

	if (!error)
		return status;
	const struct outcome_subject nothing = {0};

	return outcome_worst(status, outcome_tell(options->reporter, &nothing, NULL, error));
}

int command_run(const struct command *command, int argc, char **argv, FILE *out, FILE *err)
{
	struct options options;
	GError *refusal = NULL;
	int status = 0;

	options_init(&options);
	options_parse(&options, command, argc, argv, &refusal);
	if (options.help) {
		command_print_help(command, out);
	} else {
		options.reporter = reporter_new(&(struct reporter_options){
			.out = out,
			.err = err,
			.json = options.json,
			.quiet = options.quiet,
			.verbose = options.verbose,
			.progress = options.progress,
			.terminal = isatty(fileno(err)),
		});
		status = run_with(command, &options, refusal);
		reporter_free(options.reporter);
	}
	options_clear(&options);
	return status;
}
