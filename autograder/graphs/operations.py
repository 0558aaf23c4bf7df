"""The operations a model graph may contain, with the kinds of their arguments: the grader's own table.

It is written out here, not taken from torch, because the trusted process does not import torch; a test proves that it
agrees with torch's schemas and with the exporter's list. `python tools/list_operations.py` rewrites it.
The file is long because the table has one line for each operation, and is written and compared as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Every argument by position. "Tensor!" is written in place; the result may share the memory of "Tensor&".
_TABLE = """
aten.__and__.Tensor(Tensor, Tensor) -> Tensor
aten.__or__.Tensor(Tensor, Tensor) -> Tensor
aten._upsample_bicubic2d_aa.vec(Tensor, int[]?, bool, float[]?) -> Tensor
aten._upsample_bilinear2d_aa.vec(Tensor, int[]?, bool, float[]?) -> Tensor
aten._upsample_nearest_exact2d.vec(Tensor, int[]?, float[]?) -> Tensor
aten._weight_norm.default(Tensor, Tensor, int) -> Tensor
aten._weight_norm_interface.default(Tensor, Tensor, int) -> Tensor, Tensor
aten.abs.default(Tensor) -> Tensor
aten.abs_.default(Tensor!) -> Tensor
aten.acos.default(Tensor) -> Tensor
aten.adaptive_avg_pool1d.default(Tensor, int[]) -> Tensor
aten.adaptive_avg_pool2d.default(Tensor, int[]) -> Tensor
aten.adaptive_avg_pool3d.default(Tensor, int[]) -> Tensor
aten.adaptive_max_pool1d.default(Tensor, int[]) -> Tensor, Tensor
aten.adaptive_max_pool2d.default(Tensor, int[]) -> Tensor, Tensor
aten.adaptive_max_pool3d.default(Tensor, int[]) -> Tensor, Tensor
aten.add.Scalar(Tensor, Scalar, Scalar) -> Tensor
aten.add.Tensor(Tensor, Tensor, Scalar) -> Tensor
aten.add_.Scalar(Tensor!, Scalar, Scalar) -> Tensor
aten.add_.Tensor(Tensor!, Tensor, Scalar) -> Tensor
aten.addcdiv.default(Tensor, Tensor, Tensor, Scalar) -> Tensor
aten.addcmul.default(Tensor, Tensor, Tensor, Scalar) -> Tensor
aten.addcmul_.default(Tensor!, Tensor, Tensor, Scalar) -> Tensor
aten.addmm.default(Tensor, Tensor, Tensor, Scalar, Scalar) -> Tensor
aten.adjoint.default(Tensor&) -> Tensor
aten.affine_grid_generator.default(Tensor, int[], bool) -> Tensor
aten.alias.default(Tensor&) -> Tensor
aten.all.default(Tensor) -> Tensor
aten.all.dim(Tensor, int, bool) -> Tensor
aten.alpha_dropout.default(Tensor&, float, bool) -> Tensor
aten.alpha_dropout_.default(Tensor!, float, bool) -> Tensor
aten.amax.default(Tensor, int[], bool) -> Tensor
aten.amin.default(Tensor, int[], bool) -> Tensor
aten.any.default(Tensor) -> Tensor
aten.any.dim(Tensor, int, bool) -> Tensor
aten.arange.default(Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.arange.start(Scalar, Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.arange.start_step(Scalar, Scalar, Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.argmax.default(Tensor, int?, bool) -> Tensor
aten.argmin.default(Tensor, int?, bool) -> Tensor
aten.asin.default(Tensor) -> Tensor
aten.atan.default(Tensor) -> Tensor
aten.atan2.default(Tensor, Tensor) -> Tensor
aten.avg_pool1d.default(Tensor, int[], int[], int[], bool, bool) -> Tensor
aten.avg_pool2d.default(Tensor, int[], int[], int[], bool, bool, int?) -> Tensor
aten.avg_pool3d.default(Tensor, int[], int[], int[], bool, bool, int?) -> Tensor
aten.baddbmm.default(Tensor, Tensor, Tensor, Scalar, Scalar) -> Tensor
aten.batch_norm.default(Tensor, Tensor?, Tensor?, Tensor?, Tensor?, bool, float, float, bool) -> Tensor
aten.bernoulli.default(Tensor, Generator?) -> Tensor
aten.bernoulli.p(Tensor, float, Generator?) -> Tensor
aten.bernoulli_.float(Tensor!, float, Generator?) -> Tensor
aten.bilinear.default(Tensor, Tensor, Tensor, Tensor?) -> Tensor
aten.bitwise_and.Tensor(Tensor, Tensor) -> Tensor
aten.bitwise_not.default(Tensor) -> Tensor
aten.bitwise_or.Tensor(Tensor, Tensor) -> Tensor
aten.bmm.default(Tensor, Tensor) -> Tensor
aten.broadcast_to.default(Tensor&, int[]) -> Tensor
aten.cat.default(Tensor[], int) -> Tensor
aten.ceil.default(Tensor) -> Tensor
aten.celu.default(Tensor, Scalar) -> Tensor
aten.celu_.default(Tensor!, Scalar) -> Tensor
aten.channel_shuffle.default(Tensor, int) -> Tensor
aten.chunk.default(Tensor&, int, int) -> Tensor[]
aten.clamp.Tensor(Tensor, Tensor?, Tensor?) -> Tensor
aten.clamp.default(Tensor, Scalar?, Scalar?) -> Tensor
aten.clamp_.default(Tensor!, Scalar?, Scalar?) -> Tensor
aten.clamp_max.default(Tensor, Scalar) -> Tensor
aten.clamp_max_.default(Tensor!, Scalar) -> Tensor
aten.clamp_min.default(Tensor, Scalar) -> Tensor
aten.clamp_min_.default(Tensor!, Scalar) -> Tensor
aten.clip.default(Tensor, Scalar?, Scalar?) -> Tensor
aten.clip_.default(Tensor!, Scalar?, Scalar?) -> Tensor
aten.clone.default(Tensor, MemoryFormat?) -> Tensor
aten.col2im.default(Tensor, int[], int[], int[], int[], int[]) -> Tensor
aten.concat.default(Tensor[], int) -> Tensor
aten.concatenate.default(Tensor[], int) -> Tensor
aten.contiguous.default(Tensor&, MemoryFormat) -> Tensor
aten.conv1d.default(Tensor, Tensor, Tensor?, int[], int[], int[], int) -> Tensor
aten.conv1d.padding(Tensor, Tensor, Tensor?, int[], str, int[], int) -> Tensor
aten.conv2d.default(Tensor, Tensor, Tensor?, int[], int[], int[], int) -> Tensor
aten.conv2d.padding(Tensor, Tensor, Tensor?, int[], str, int[], int) -> Tensor
aten.conv3d.default(Tensor, Tensor, Tensor?, int[], int[], int[], int) -> Tensor
aten.conv3d.padding(Tensor, Tensor, Tensor?, int[], str, int[], int) -> Tensor
aten.conv_transpose1d.default(Tensor, Tensor, Tensor?, int[], int[], int[], int, int[]) -> Tensor
aten.conv_transpose2d.input(Tensor, Tensor, Tensor?, int[], int[], int[], int, int[]) -> Tensor
aten.conv_transpose3d.input(Tensor, Tensor, Tensor?, int[], int[], int[], int, int[]) -> Tensor
aten.copy_.default(Tensor!, Tensor, bool) -> Tensor
aten.cos.default(Tensor) -> Tensor
aten.cosh.default(Tensor) -> Tensor
aten.cosine_similarity.default(Tensor, Tensor, int, float) -> Tensor
aten.count_nonzero.dim_IntList(Tensor, int[]) -> Tensor
aten.cumsum.default(Tensor, int, ScalarType?) -> Tensor
aten.detach.default(Tensor&) -> Tensor
aten.diagonal.default(Tensor&, int, int, int) -> Tensor
aten.div.Scalar(Tensor, Scalar) -> Tensor
aten.div.Tensor(Tensor, Tensor) -> Tensor
aten.div.Tensor_mode(Tensor, Tensor, str?) -> Tensor
aten.div.out(Tensor, Tensor, Tensor!) -> Tensor
aten.div_.Scalar(Tensor!, Scalar) -> Tensor
aten.div_.Tensor(Tensor!, Tensor) -> Tensor
aten.dot.default(Tensor, Tensor) -> Tensor
aten.dropout.default(Tensor&, float, bool) -> Tensor
aten.dropout_.default(Tensor!, float, bool) -> Tensor
aten.einsum.default(str, Tensor[]&, int[]?) -> Tensor
aten.elu.default(Tensor, Scalar, Scalar, Scalar) -> Tensor
aten.elu_.default(Tensor!, Scalar, Scalar, Scalar) -> Tensor
aten.embedding.default(Tensor, Tensor, int, bool, bool) -> Tensor
aten.eq.Scalar(Tensor, Scalar) -> Tensor
aten.eq.Tensor(Tensor, Tensor) -> Tensor
aten.erf.default(Tensor) -> Tensor
aten.erfc.default(Tensor) -> Tensor
aten.exp.default(Tensor) -> Tensor
aten.exp2.default(Tensor) -> Tensor
aten.exp_.default(Tensor!) -> Tensor
aten.expand.default(Tensor&, int[], bool) -> Tensor
aten.expand_as.default(Tensor&, Tensor) -> Tensor
aten.expm1.default(Tensor) -> Tensor
aten.eye.default(int, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.eye.m(int, int, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.feature_alpha_dropout.default(Tensor&, float, bool) -> Tensor
aten.feature_alpha_dropout_.default(Tensor!, float, bool) -> Tensor
aten.feature_dropout.default(Tensor&, float, bool) -> Tensor
aten.feature_dropout_.default(Tensor!, float, bool) -> Tensor
aten.fill_.Scalar(Tensor!, Scalar) -> Tensor
aten.fill_.Tensor(Tensor!, Tensor) -> Tensor
aten.flatten.using_ints(Tensor&, int, int) -> Tensor
aten.flip.default(Tensor, int[]) -> Tensor
aten.fliplr.default(Tensor) -> Tensor
aten.flipud.default(Tensor) -> Tensor
aten.floor.default(Tensor) -> Tensor
aten.floor_.default(Tensor!) -> Tensor
aten.floor_divide.Scalar(Tensor, Scalar) -> Tensor
aten.floor_divide.default(Tensor, Tensor) -> Tensor
aten.frac.default(Tensor) -> Tensor
aten.full.default(int[], Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.full_like.default(Tensor, Scalar, ScalarType?, Layout?, Device?, bool?, MemoryFormat?) -> Tensor
aten.gather.default(Tensor, int, Tensor, bool) -> Tensor
aten.ge.Scalar(Tensor, Scalar) -> Tensor
aten.ge.Tensor(Tensor, Tensor) -> Tensor
aten.gelu.default(Tensor, str) -> Tensor
aten.gelu_.default(Tensor!, str) -> Tensor
aten.glu.default(Tensor, int) -> Tensor
aten.grid_sampler.default(Tensor, Tensor, int, int, bool) -> Tensor
aten.group_norm.default(Tensor, int, Tensor?, Tensor?, float, bool) -> Tensor
aten.gt.Scalar(Tensor, Scalar) -> Tensor
aten.gt.Tensor(Tensor, Tensor) -> Tensor
aten.hardshrink.default(Tensor, Scalar) -> Tensor
aten.hardsigmoid.default(Tensor) -> Tensor
aten.hardsigmoid_.default(Tensor!) -> Tensor
aten.hardswish.default(Tensor) -> Tensor
aten.hardswish_.default(Tensor!) -> Tensor
aten.hardtanh.default(Tensor, Scalar, Scalar) -> Tensor
aten.hardtanh_.default(Tensor!, Scalar, Scalar) -> Tensor
aten.hstack.default(Tensor[]) -> Tensor
aten.im2col.default(Tensor, int[], int[], int[], int[]) -> Tensor
aten.index.Tensor(Tensor, Tensor?[]) -> Tensor
aten.index_put_.default(Tensor!, Tensor?[], Tensor, bool) -> Tensor
aten.index_select.default(Tensor, int, Tensor) -> Tensor
aten.inner.default(Tensor, Tensor) -> Tensor
aten.instance_norm.default(Tensor, Tensor?, Tensor?, Tensor?, Tensor?, bool, float, float, bool) -> Tensor
aten.isfinite.default(Tensor) -> Tensor
aten.isinf.default(Tensor) -> Tensor
aten.isnan.default(Tensor) -> Tensor
aten.layer_norm.default(Tensor, int[], Tensor?, Tensor?, float, bool) -> Tensor
aten.le.Scalar(Tensor, Scalar) -> Tensor
aten.le.Tensor(Tensor, Tensor) -> Tensor
aten.leaky_relu.default(Tensor, Scalar) -> Tensor
aten.leaky_relu_.default(Tensor!, Scalar) -> Tensor
aten.lerp.Scalar(Tensor, Tensor, Scalar) -> Tensor
aten.lerp.Tensor(Tensor, Tensor, Tensor) -> Tensor
aten.lerp_.Scalar(Tensor!, Tensor, Scalar) -> Tensor
aten.lerp_.Tensor(Tensor!, Tensor, Tensor) -> Tensor
aten.lift_fresh_copy.default(Tensor) -> Tensor
aten.linalg_vector_norm.default(Tensor, Scalar, int[]?, bool, ScalarType?) -> Tensor
aten.linear.default(Tensor, Tensor, Tensor?) -> Tensor
aten.linspace.default(Scalar, Scalar, int, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.log.default(Tensor) -> Tensor
aten.log10.default(Tensor) -> Tensor
aten.log1p.default(Tensor) -> Tensor
aten.log2.default(Tensor) -> Tensor
aten.log_.default(Tensor!) -> Tensor
aten.log_sigmoid.default(Tensor) -> Tensor
aten.log_softmax.int(Tensor, int, ScalarType?) -> Tensor
aten.logaddexp.default(Tensor, Tensor) -> Tensor
aten.logical_and.default(Tensor, Tensor) -> Tensor
aten.logical_not.default(Tensor) -> Tensor
aten.logical_or.default(Tensor, Tensor) -> Tensor
aten.logical_xor.default(Tensor, Tensor) -> Tensor
aten.logsumexp.default(Tensor, int[], bool) -> Tensor
aten.lt.Scalar(Tensor, Scalar) -> Tensor
aten.lt.Tensor(Tensor, Tensor) -> Tensor
aten.mH.default(Tensor&) -> Tensor
aten.mT.default(Tensor&) -> Tensor
aten.masked_fill.Scalar(Tensor, Tensor, Scalar) -> Tensor
aten.masked_fill.Tensor(Tensor, Tensor, Tensor) -> Tensor
aten.masked_fill_.Scalar(Tensor!, Tensor, Scalar) -> Tensor
aten.matmul.default(Tensor, Tensor) -> Tensor
aten.matrix_H.default(Tensor&) -> Tensor
aten.max.default(Tensor) -> Tensor
aten.max.dim(Tensor, int, bool) -> Tensor, Tensor
aten.max.other(Tensor, Tensor) -> Tensor
aten.max_pool1d.default(Tensor, int[], int[], int[], int[], bool) -> Tensor
aten.max_pool2d.default(Tensor, int[], int[], int[], int[], bool) -> Tensor
aten.max_pool2d_with_indices.default(Tensor, int[], int[], int[], int[], bool) -> Tensor, Tensor
aten.max_pool3d.default(Tensor, int[], int[], int[], int[], bool) -> Tensor
aten.maximum.default(Tensor, Tensor) -> Tensor
aten.mean.default(Tensor, ScalarType?) -> Tensor
aten.mean.dim(Tensor, int[]?, bool, ScalarType?) -> Tensor
aten.median.dim(Tensor, int, bool) -> Tensor, Tensor
aten.meshgrid.default(Tensor[]&) -> Tensor[]
aten.meshgrid.indexing(Tensor[]&, str) -> Tensor[]
aten.min.default(Tensor) -> Tensor
aten.min.dim(Tensor, int, bool) -> Tensor, Tensor
aten.min.other(Tensor, Tensor) -> Tensor
aten.minimum.default(Tensor, Tensor) -> Tensor
aten.mish.default(Tensor) -> Tensor
aten.mish_.default(Tensor!) -> Tensor
aten.mm.default(Tensor, Tensor) -> Tensor
aten.moveaxis.int(Tensor&, int, int) -> Tensor
aten.moveaxis.intlist(Tensor&, int[], int[]) -> Tensor
aten.movedim.int(Tensor&, int, int) -> Tensor
aten.movedim.intlist(Tensor&, int[], int[]) -> Tensor
aten.mul.Scalar(Tensor, Scalar) -> Tensor
aten.mul.Tensor(Tensor, Tensor) -> Tensor
aten.mul_.Scalar(Tensor!, Scalar) -> Tensor
aten.mul_.Tensor(Tensor!, Tensor) -> Tensor
aten.mv.default(Tensor, Tensor) -> Tensor
aten.nan_to_num.default(Tensor, float?, float?, float?) -> Tensor
aten.narrow.default(Tensor&, int, int, int) -> Tensor
aten.ne.Scalar(Tensor, Scalar) -> Tensor
aten.ne.Tensor(Tensor, Tensor) -> Tensor
aten.neg.default(Tensor) -> Tensor
aten.neg_.default(Tensor!) -> Tensor
aten.new_full.default(Tensor, int[], Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.new_ones.default(Tensor, int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.new_zeros.default(Tensor, int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.norm.ScalarOpt_dim(Tensor, Scalar?, int[], bool) -> Tensor
aten.normal.float_float(float, float, int[], Generator?, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.normal_.default(Tensor!, float, float, Generator?) -> Tensor
aten.numpy_T.default(Tensor&) -> Tensor
aten.ones.default(int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.ones_like.default(Tensor, ScalarType?, Layout?, Device?, bool?, MemoryFormat?) -> Tensor
aten.outer.default(Tensor, Tensor) -> Tensor
aten.pad.default(Tensor&, int[], str, float?) -> Tensor
aten.permute.default(Tensor&, int[]) -> Tensor
aten.pixel_shuffle.default(Tensor, int) -> Tensor
aten.pixel_unshuffle.default(Tensor, int) -> Tensor
aten.pow.Scalar(Scalar, Tensor) -> Tensor
aten.pow.Tensor_Scalar(Tensor, Scalar) -> Tensor
aten.pow.Tensor_Tensor(Tensor, Tensor) -> Tensor
aten.pow_.Scalar(Tensor!, Scalar) -> Tensor
aten.prelu.default(Tensor, Tensor) -> Tensor
aten.prod.default(Tensor, ScalarType?) -> Tensor
aten.prod.dim_int(Tensor, int, bool, ScalarType?) -> Tensor
aten.rand.default(int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.rand_like.default(Tensor, ScalarType?, Layout?, Device?, bool?, MemoryFormat?) -> Tensor
aten.randint.default(int, int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.randint.low(int, int, int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.randn.default(int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.randn_like.default(Tensor, ScalarType?, Layout?, Device?, bool?, MemoryFormat?) -> Tensor
aten.ravel.default(Tensor&) -> Tensor
aten.reciprocal.default(Tensor) -> Tensor
aten.reciprocal_.default(Tensor!) -> Tensor
aten.relu.default(Tensor) -> Tensor
aten.relu6.default(Tensor) -> Tensor
aten.relu6_.default(Tensor!) -> Tensor
aten.relu_.default(Tensor!) -> Tensor
aten.remainder.Scalar(Tensor, Scalar) -> Tensor
aten.remainder.Tensor(Tensor, Tensor) -> Tensor
aten.repeat.default(Tensor, int[]) -> Tensor
aten.repeat_interleave.self_int(Tensor, int, int?, int?) -> Tensor
aten.reshape.default(Tensor&, int[]) -> Tensor
aten.reshape_as.default(Tensor&, Tensor) -> Tensor
aten.rms_norm.default(Tensor, int[], Tensor?, float?) -> Tensor
aten.roll.default(Tensor, int[], int[]) -> Tensor
aten.rot90.default(Tensor, int, int[]) -> Tensor
aten.round.default(Tensor) -> Tensor
aten.rrelu.default(Tensor&, Scalar, Scalar, bool, Generator?) -> Tensor
aten.rrelu_.default(Tensor!, Scalar, Scalar, bool, Generator?) -> Tensor
aten.rsqrt.default(Tensor) -> Tensor
aten.rsqrt_.default(Tensor!) -> Tensor
aten.rsub.Scalar(Tensor, Scalar, Scalar) -> Tensor
aten.rsub.Tensor(Tensor, Tensor, Scalar) -> Tensor
aten.scalar_tensor.default(Scalar, ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.scaled_dot_product_attention.default(Tensor, Tensor, Tensor, Tensor?, float, bool, float?, bool) -> Tensor
aten.select.int(Tensor&, int, int) -> Tensor
aten.selu.default(Tensor) -> Tensor
aten.selu_.default(Tensor!) -> Tensor
aten.sgn.default(Tensor) -> Tensor
aten.sigmoid.default(Tensor) -> Tensor
aten.sigmoid_.default(Tensor!) -> Tensor
aten.sign.default(Tensor) -> Tensor
aten.silu.default(Tensor) -> Tensor
aten.silu_.default(Tensor!) -> Tensor
aten.sin.default(Tensor) -> Tensor
aten.sinh.default(Tensor) -> Tensor
aten.slice.Tensor(Tensor&, int, int?, int?, int) -> Tensor
aten.softmax.int(Tensor, int, ScalarType?) -> Tensor
aten.softplus.default(Tensor, Scalar, Scalar) -> Tensor
aten.softshrink.default(Tensor, Scalar) -> Tensor
aten.sort.default(Tensor, int, bool) -> Tensor, Tensor
aten.split.Tensor(Tensor&, int, int) -> Tensor[]
aten.split.sizes(Tensor&, int[], int) -> Tensor[]
aten.split_with_sizes.default(Tensor&, int[], int) -> Tensor[]
aten.sqrt.default(Tensor) -> Tensor
aten.sqrt_.default(Tensor!) -> Tensor
aten.square.default(Tensor) -> Tensor
aten.square_.default(Tensor!) -> Tensor
aten.squeeze.default(Tensor&) -> Tensor
aten.squeeze.dim(Tensor&, int) -> Tensor
aten.squeeze.dims(Tensor&, int[]) -> Tensor
aten.squeeze_.default(Tensor!) -> Tensor
aten.squeeze_.dim(Tensor!, int) -> Tensor
aten.stack.default(Tensor[], int) -> Tensor
aten.std.correction(Tensor, int[]?, Scalar?, bool) -> Tensor
aten.std.default(Tensor, bool) -> Tensor
aten.std.dim(Tensor, int[]?, bool, bool) -> Tensor
aten.std_mean.correction(Tensor, int[]?, Scalar?, bool) -> Tensor, Tensor
aten.std_mean.dim(Tensor, int[]?, bool, bool) -> Tensor, Tensor
aten.sub.Scalar(Tensor, Scalar, Scalar) -> Tensor
aten.sub.Tensor(Tensor, Tensor, Scalar) -> Tensor
aten.sub_.Scalar(Tensor!, Scalar, Scalar) -> Tensor
aten.sub_.Tensor(Tensor!, Tensor, Scalar) -> Tensor
aten.sum.default(Tensor, ScalarType?) -> Tensor
aten.sum.dim_IntList(Tensor, int[]?, bool, ScalarType?) -> Tensor
aten.swapaxes.default(Tensor&, int, int) -> Tensor
aten.swapdims.default(Tensor&, int, int) -> Tensor
aten.sym_numel.default(Tensor) -> int
aten.sym_size.int(Tensor, int) -> int
aten.t.default(Tensor&) -> Tensor
aten.take_along_dim.default(Tensor, Tensor, int?) -> Tensor
aten.tan.default(Tensor) -> Tensor
aten.tanh.default(Tensor) -> Tensor
aten.tanh_.default(Tensor!) -> Tensor
aten.tensor_split.indices(Tensor&, int[], int) -> Tensor[]
aten.tensor_split.sections(Tensor&, int, int) -> Tensor[]
aten.tensordot.default(Tensor, Tensor, int[], int[]) -> Tensor
aten.threshold.default(Tensor, Scalar, Scalar) -> Tensor
aten.threshold_.default(Tensor!, Scalar, Scalar) -> Tensor
aten.tile.default(Tensor&, int[]) -> Tensor
aten.to.device(Tensor&, Device, ScalarType, bool, bool, MemoryFormat?) -> Tensor
aten.to.dtype(Tensor&, ScalarType, bool, bool, MemoryFormat?) -> Tensor
aten.to.dtype_layout(Tensor&, ScalarType?, Layout?, Device?, bool?, bool, bool, MemoryFormat?) -> Tensor
aten.to.other(Tensor&, Tensor, bool, bool, MemoryFormat?) -> Tensor
aten.topk.default(Tensor, int, int, bool, bool) -> Tensor, Tensor
aten.transpose.int(Tensor&, int, int) -> Tensor
aten.tril.default(Tensor, int) -> Tensor
aten.triu.default(Tensor, int) -> Tensor
aten.trunc.default(Tensor) -> Tensor
aten.type_as.default(Tensor&, Tensor&) -> Tensor
aten.unbind.int(Tensor&, int) -> Tensor[]
aten.unflatten.int(Tensor&, int, int[]) -> Tensor
aten.unfold.default(Tensor&, int, int, int) -> Tensor
aten.uniform_.default(Tensor!, float, float, Generator?) -> Tensor
aten.unsafe_chunk.default(Tensor, int, int) -> Tensor[]
aten.unsafe_split.Tensor(Tensor, int, int) -> Tensor[]
aten.unsqueeze.default(Tensor&, int) -> Tensor
aten.unsqueeze_.default(Tensor!, int) -> Tensor
aten.upsample_bicubic2d.vec(Tensor, int[]?, bool, float[]?) -> Tensor
aten.upsample_bilinear2d.vec(Tensor, int[]?, bool, float[]?) -> Tensor
aten.upsample_linear1d.vec(Tensor, int[]?, bool, float[]?) -> Tensor
aten.upsample_nearest1d.vec(Tensor, int[]?, float[]?) -> Tensor
aten.upsample_nearest2d.vec(Tensor, int[]?, float[]?) -> Tensor
aten.upsample_nearest3d.vec(Tensor, int[]?, float[]?) -> Tensor
aten.var.correction(Tensor, int[]?, Scalar?, bool) -> Tensor
aten.var.default(Tensor, bool) -> Tensor
aten.var.dim(Tensor, int[]?, bool, bool) -> Tensor
aten.var_mean.correction(Tensor, int[]?, Scalar?, bool) -> Tensor, Tensor
aten.var_mean.dim(Tensor, int[]?, bool, bool) -> Tensor, Tensor
aten.vdot.default(Tensor, Tensor) -> Tensor
aten.view.default(Tensor&, int[]) -> Tensor
aten.view_as.default(Tensor&, Tensor) -> Tensor
aten.vstack.default(Tensor[]) -> Tensor
aten.where.Scalar(Tensor, Scalar, Scalar) -> Tensor
aten.where.ScalarOther(Tensor, Tensor, Scalar) -> Tensor
aten.where.ScalarSelf(Tensor, Scalar, Tensor) -> Tensor
aten.where.self(Tensor, Tensor, Tensor) -> Tensor
aten.xlogy.Tensor(Tensor, Tensor) -> Tensor
aten.zero_.default(Tensor!) -> Tensor
aten.zeros.default(int[], ScalarType?, Layout?, Device?, bool?) -> Tensor
aten.zeros_like.default(Tensor, ScalarType?, Layout?, Device?, bool?, MemoryFormat?) -> Tensor
"""
# end of table


@dataclass(frozen=True)
class Operation:
    """One overload: the kinds of its arguments and of its results, spelled as in the table."""

    name: str
    kinds: tuple[str, ...]
    returns: tuple[str, ...]


def _parse(line: str) -> Operation:
    match = re.fullmatch(r"([\w.]+)\((.*)\) -> (.+)", line)
    if match is None:
        raise ValueError(f"not a line of the table of operations: {line!r}")
    name, kinds, returns = match.groups()
    return Operation(name, tuple(kinds.split(", ")), tuple(returns.split(", ")))


OPERATIONS = {operation.name: operation for operation in map(_parse, _TABLE.strip().splitlines())}

# Arithmetic on symbolic sizes (the batch). No powers, no shifts: they make huge integers out of small ones.
SIZE_OPERATIONS = frozenset(f"operator.{name}" for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg"))
GETITEM = "operator.getitem"

DROPOUTS = frozenset(name for name in OPERATIONS if re.match(r"aten\.\w*dropout", name))
# Noise has a place in training only (stochastic depth, noise layers); dropout brings its own flag.
RANDOM = frozenset(
    name for name in OPERATIONS if re.match(r"aten\.(bernoulli|rand|randn|randint|uniform|normal)(_|_like)?\.", name)
)
# What torch's own layers draw their first weights with.
WEIGHT_STARTS = frozenset({"aten.uniform_.default", "aten.normal_.default"})
CONVOLUTIONS = frozenset(name for name in OPERATIONS if name.startswith("aten.conv"))

# The only strings that an operation takes, by operation; None stands where the argument is optional.
TEXTS: dict[str, frozenset[str | None]] = {
    "aten.conv1d.padding": frozenset({"same", "valid"}),
    "aten.conv2d.padding": frozenset({"same", "valid"}),
    "aten.conv3d.padding": frozenset({"same", "valid"}),
    "aten.gelu.default": frozenset({"none", "tanh"}),
    "aten.gelu_.default": frozenset({"none", "tanh"}),
    "aten.div.Tensor_mode": frozenset({None, "floor", "trunc"}),
    "aten.pad.default": frozenset({"constant", "reflect", "replicate", "circular"}),
    "aten.meshgrid.indexing": frozenset({"ij", "xy"}),
}
EINSUM = "aten.einsum.default"
EINSUM_EQUATION = re.compile(r"[A-Za-z., ]{1,100}(-> ?[A-Za-z. ]{0,50})?")
