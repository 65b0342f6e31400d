/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Tells the bus what changed, after each turn of the loop: the difference between the model and what was told last. A hundred changes of
 * an object in a turn make one PropertiesChanged. Replies go out after the signals that belong to them. */

/* bus and e must outlive it. */
int publish_start(sd_bus *bus, Engine *e);
void publish_stop(Engine *e);
