// SPDX-License-Identifier: Apache-2.0
// The compiled parts of Asio and Beast, once for the whole project (2 s less per file).
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
