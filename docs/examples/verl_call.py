"""verl's call: log-probs and entropies of a batch from its hidden states and the LM head's weight."""

import torch
from oorl_kernels.integrations.verl import linear_cross_entropy  # for verl.utils.kernel.linear_cross_entropy

torch.manual_seed(0)
hidden = torch.randn(2, 12, 64, requires_grad=True)  # [B, T, H], the backbone's last hidden states
lm_head = torch.nn.Linear(64, 1000, bias=False)
input_ids = torch.randint(1000, (2, 12))
labels = torch.roll(input_ids, shifts=-1, dims=-1)  # as verl makes them: a position's label is the next token
log_probs, entropy = linear_cross_entropy(hidden, lm_head.weight, labels, 0.7, "none")  # both [B * T]
advantages = torch.randn(24)
loss = -(advantages * log_probs + 0.01 * entropy).mean()
loss.backward()
