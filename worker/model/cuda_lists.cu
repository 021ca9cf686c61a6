// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/kernels/cuda_shortlist.cuh"
#include "worker/model/cuda_lists.cuh"

namespace worker::model {

namespace cuda = kernels::cuda;

namespace {

template <typename Value>
void take(DeviceArray<Value>& array, std::size_t count) {
    auto memory = DeviceArray<Value>::make(count);
    MR_CHECK(memory.has_value());
    array = std::move(*memory);
}

template <typename Value>
void send(const DeviceArray<Value>& to, const PinnedArray<Value>& from, std::size_t count,
          cudaStream_t stream) {
    if (count > 0)
        MR_CUDA(cudaMemcpyAsync(to.get(), from.get(), count * sizeof(Value), cudaMemcpyHostToDevice,
                                stream));
}

template <typename Value>
void fetch(const PinnedArray<Value>& to, const DeviceArray<Value>& from, std::size_t count,
           cudaStream_t stream) {
    if (count > 0)
        MR_CUDA(cudaMemcpyAsync(to.get(), from.get(), count * sizeof(Value), cudaMemcpyDeviceToHost,
                                stream));
}

}  // namespace

RowLists::RowLists(std::uint32_t vocab) : vocab_(vocab) {}
RowLists::~RowLists() = default;

bool RowLists::make_room(std::size_t rows) {
    if (rows <= rows_) return false;
    rows_ = rows;
    take(orders_, rows);
    take(named_, rows * kernels::kNamedMax);
    take(named_logits_, rows * kernels::kNamedMax);
    take(lists_, rows);
    orders_host_ = std::make_unique<PinnedArray<cuda::ListOrder>>(rows);
    named_host_ = std::make_unique<PinnedArray<std::uint32_t>>(rows * kernels::kNamedMax);
    named_logits_host_ = std::make_unique<PinnedArray<float>>(rows * kernels::kNamedMax);
    lists_host_ = std::make_unique<PinnedArray<cuda::ListRow>>(rows);
    return true;
}

void RowLists::order(std::span<const ShortlistWish> wishes, cudaStream_t stream) {
    MR_CHECK(wishes.size() <= rows_);
    named_count_ = 0;
    refused_.assign(wishes.size(), false);
    if (wishes.empty()) return;
    for (std::size_t i = 0; i < wishes.size(); ++i) {
        const ShortlistWish& wish = wishes[i];
        refused_[i] = wish.named.size() > kernels::kNamedMax;
        cuda::ListOrder& order = orders_host_->get()[i];
        order.inverse_temperature = wish.temperature > 0 ? 1.0 / wish.temperature : 0.0;
        order.with_plain = wish.with_plain ? 1 : 0;
        order.named_begin = named_count_;
        order.named_count = refused_[i] ? 0 : static_cast<std::uint32_t>(wish.named.size());
        for (std::uint32_t j = 0; j < order.named_count; ++j) {
            MR_CHECK(wish.named[j] < vocab_);
            named_host_->get()[named_count_++] = wish.named[j];
        }
    }
    send(orders_, *orders_host_, wishes.size(), stream);
    send(named_, *named_host_, named_count_, stream);
}

void RowLists::launch(const float* logits, unsigned rows, cudaStream_t stream) const {
    cuda::ListCall call;
    call.logits = logits;
    call.orders = orders_.get();
    call.named = named_.get();
    call.named_logits = named_logits_.get();
    call.out = lists_.get();
    call.vocab = vocab_;
    cuda::launch(cuda::list_kernel, dim3(rows), cuda::kListThreads, 0, stream, call);
}

std::span<const Shortlist> RowLists::read(cudaStream_t stream) {
    shortlists_.assign(refused_.size(), {});
    if (!refused_.empty()) {
        fetch(*lists_host_, lists_, refused_.size(), stream);
        fetch(*named_logits_host_, named_logits_, named_count_, stream);
    }
    MR_CUDA(cudaStreamSynchronize(stream));
    for (std::size_t i = 0; i < refused_.size(); ++i) {
        const cuda::ListRow& row = lists_host_->get()[i];
        const cuda::ListOrder& order = orders_host_->get()[i];
        Shortlist& out = shortlists_[i];
        out.vocab = vocab_;
        out.floor = row.floor;
        if (!refused_[i]) out.listed = {row.listed, row.count};
        out.elsewhere = row.elsewhere;
        out.elsewhere_plain = row.elsewhere_plain;
        out.logits = {named_logits_host_->get() + order.named_begin, order.named_count};
    }
    return shortlists_;
}

}  // namespace worker::model
