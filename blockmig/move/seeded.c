/*
 * The seeded method: the frozen layers are copied and proven by our own engine while the
 * guest writes to an overlay; QEMU meets the destination only at the cutover.
 */
#include "blockmig/move/phases.h"

const struct phase seeded_phases[] = {
	{
		.name = "claim",
		.probe = claim_probe,
		.run = claim_run,
		.undo = claim_undo,
		.words = "write the job into the domain's metadata",
	},
	{
		.name = "backup",
		.run = backup_run,
		.words = "save the domain's XML in the job's folder",
	},
	{
		.name = "prepare",
		.run = prepare_run,
		.undo = prepare_undo,
		.words = "create the destination, and prove that QEMU finds it too",
	},
	{
		.name = "freeze",
		.probe = freeze_probe,
		.run = freeze_run,
		.undo = freeze_undo,
		.words = "let the guest write to an overlay",
	},
	{
		.name = "seed",
		.run = seed_run,
		.words = "copy the frozen image and read it back",
	},
	{
		.name = "rounds",
		.run = rounds_run,
		.words = "copy what was written meanwhile, until little is left",
	},
	{
		.name = "mirror",
		.probe = mirror_probe,
		.run = mirror_run,
		.undo = mirror_undo,
		.words = "let QEMU mirror the last overlay",
	},
	{
		.name = "cutover",
		.run = cutover_run,
		.undo = cutover_undo,
		.words = "suspend, pivot, compare, resume",
	},
	{
		.name = "persist",
		.run = persist_run,
		.words = "make live and inactive XML name the destination",
	},
	{
		.name = "attest",
		.run = attest_run,
		.words = "hash again what the rounds touched",
	},
	{
		.name = "merge",
		.run = merge_run,
		.words = "commit the last overlay into the destination",
	},
	{
		.name = "retire",
		.run = retire_run,
		.words = "remove our overlays, and the source where asked",
	},
	{.name = NULL},
};
