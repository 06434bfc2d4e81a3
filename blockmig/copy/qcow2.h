/*
 * A qcow2 image laid out for copying: all metadata in front, and the guest's bytes
 * behind it in the guest's order, so that guest offset N lies at qcow2_data_offset + N.
 *
 * The engine writes such an image through the same transport, with the same proof, as
 * a raw one: it copies to the data area, in any order and any number of rounds.  Then
 * qcow2_finish writes header, refcounts, L1 and L2 tables: units that hold data are
 * allocated clusters, the others are not.  The file stays thin, and QEMU sees the same.
 * Version 3, 64 KiB clusters, 16-bit refcounts (QEMU's docs/interop/qcow2.txt).
 */
#ifndef COPY_QCOW2_H
#define COPY_QCOW2_H

#include "transports/transport.h"

/* Where the guest's byte 0 lies; a multiple of 1 MiB. */
guint64 qcow2_data_offset(guint64 virtual_bytes);
/* The size of the file. */
guint64 qcow2_file_bytes(guint64 virtual_bytes);

/*
 * Writes the metadata through @handle and flushes it; @allocated has one extent list
 * over the whole virtual size, EXTENT_DATA where clusters are to be allocated.
 * The caller proves it with qcow2_prove over another handle.
 */
gboolean qcow2_finish(struct handle *handle, guint64 virtual_bytes, const struct extents *allocated,
		      GError **error);
/* Reads the metadata back and compares it; INTEGRITY where it differs. */
gboolean qcow2_prove(struct handle *handle, guint64 virtual_bytes, const struct extents *allocated,
		     GError **error);

#endif
