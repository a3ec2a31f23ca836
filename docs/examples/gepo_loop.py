"""A plain loop with GEPO: a toy model learns which responses of a group are equivalent to its source."""

import torch
from oorl_kernels import gepo_loss, linear_token_logprobs
from torch import nn

torch.manual_seed(0)
backbone, lm_head = nn.Sequential(nn.Embedding(50, 32), nn.Tanh()), nn.Linear(32, 50, bias=False)
optimizer = torch.optim.Adam([*backbone.parameters(), *lm_head.parameters()], lr=0.01)
responses = torch.randint(50, (12, 10))  # [K, T]: three groups of two winners and two losers
responses[5, 7:] = -100  # a shorter one, padded
is_winner, group_ids = torch.tensor([True, True, False, False] * 3), torch.arange(3).repeat_interleave(4)
ref_scores, losses = None, []
for _ in range(30):
    hidden_states = backbone(responses.clamp(min=0))[:, :-1]
    scores = linear_token_logprobs(hidden_states, lm_head.weight, responses[:, 1:]).logprobs.sum(-1)  # [K]
    ref_scores = scores.detach() if ref_scores is None else ref_scores  # the reference is the model as it was
    result = gepo_loss(scores, ref_scores, is_winner, group_ids, num_groups=3)
    optimizer.zero_grad()
    result.loss.backward()
    optimizer.step()
    losses.append(result.loss.item())
