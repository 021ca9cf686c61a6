// SPDX-License-Identifier: Apache-2.0
// The public Standard Webhooks library, as receivers use it.
import standardwebhooks from "standardwebhooks";

export const { Webhook } = standardwebhooks;
