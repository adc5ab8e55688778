// Checks the number of elements of an object, before anything else is done with it, and before it
// is copied. An object within these counts is cheap to process, whatever it contains.
#pragma once

#include "control/model/catalog.h"
#include "control/model/failure.h"

namespace dr::control {

Failure check_counts(const v1::Pool& pool);
Failure check_counts(const v1::Policy& policy);
Failure check_counts(const v1::Subscriber& subscriber);
Failure check_counts(const Object& object);

}  // namespace dr::control
