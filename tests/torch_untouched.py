"""What a module is, down to the identity of everything in it, to tell whether a call has touched it."""

import sys

import torch


def portrait(net):
    """Attributes, tables and hooks of every layer by identity, and values, versions and gradients of every tensor."""
    layers = []
    for name, layer in net.named_modules():
        attributes = {key: id(value) for key, value in vars(layer).items()}
        tables = {key: [(k, id(v)) for k, v in value.items()] for key, value in vars(layer).items() if _is_table(value)}
        layers.append((name, id(layer), type(layer), attributes, tables))
    tensors = [(name, id(value), value._version, value.requires_grad, id(value.grad)) for name, value in _tensors(net)]
    return layers, tensors, [value.detach().clone().tolist() for _, value in _tensors(net)], switches()


def switches():
    """What PyTorch switches for the whole process, and for this thread."""
    return (
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        torch._C._functorch.get_dynamic_layer_stack_depth(),
        torch._functorch.eager_transforms.JVP_NESTING,
        torch.is_autocast_enabled("cpu"),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.autograd.forward_ad._current_level,
    )


def _is_table(value):
    return isinstance(value, dict)


def _tensors(net):
    return [*net.named_parameters(), *net.named_buffers()]


def interrupted_after(lines, call):
    """Call, and raise KeyboardInterrupt at so many lines of the adapter's or the networks' code; lines that ran."""
    ran = 0

    def trace(frame, event, _):
        nonlocal ran
        if not any(part in frame.f_code.co_filename for part in ("dntk_torch", "torch_networks", "models/adapter")):
            return None
        if event == "line":
            ran += 1
            if ran == lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return ran
