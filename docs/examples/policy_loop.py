"""A plain loop with the policy loss: GRPO on a toy model that is rewarded for every even token it writes."""

import torch
from oorl_kernels import LinearTokenLogprobs, group_advantages, policy_loss
from torch import nn

torch.manual_seed(0)
backbone, lm_head = nn.Sequential(nn.Embedding(8, 32), nn.Tanh()), LinearTokenLogprobs(32, 50)
optimizer = torch.optim.Adam([*backbone.parameters(), *lm_head.parameters()], lr=0.02)
group_ids = torch.arange(8).repeat_interleave(4)  # four completions of each of eight prompts
mean_rewards = []
for _ in range(30):
    hidden_states = backbone(group_ids[:, None].expand(32, 6))  # [B, T, H]
    completions = torch.distributions.Categorical(logits=lm_head(hidden_states.detach())).sample()  # [B, T]
    rewards = (completions % 2 == 0).float().mean(-1)  # [B]
    advantages = group_advantages(rewards, group_ids, mode="grpo")
    logprobs = lm_head(hidden_states, completions).logprobs  # [B, T]; the logits never exist
    loss = policy_loss(logprobs, logprobs.detach(), advantages, torch.ones_like(completions)).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    mean_rewards.append(rewards.mean().item())
