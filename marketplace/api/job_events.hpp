// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/services.hpp"

namespace marketplace::api {

/// The live record of a job: a JSON list, or server-sent events (`id:` is the sequence, so that
/// Last-Event-ID resumes; the stream ends with `event: end` when the job is final).
void answer_job_events(Services& services, const http::RequestPtr& request,
                       const http::Reply& reply, const domain::JobId& id);

}  // namespace marketplace::api
