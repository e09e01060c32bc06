/* What the exchange needs of a comm. */
#ifndef COMM_COMM_INTERNAL_H
#define COMM_COMM_INTERNAL_H

#include "comm/transport.h"

const transport_group *comm_group(const comm *c);        /* lives as long as the comm */
const transport *comm_chosen(const comm *c, void **state); /* the transport and its state, both the comm's */

/* All ranks of the group get STATUS_OK when all passed it; otherwise each failing rank keeps its own status and detail, and
 * the others get STATUS_PEER and "what: another rank failed". Collective over the group. */
status comm_agree(const comm *c, status mine, const char *what, status_detail *detail);

#endif
