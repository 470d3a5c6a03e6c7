"""Claims of `_overflow`: which words of a server mean that the input is too long.

The texts are what servers answered. The rules were written from RULE_PHRASINGS and RULE_LOOKALIKES; the others
were collected apart and only check: no rule was made or changed for one of them.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun._errors.context_overflow import is_context_overflow

RULE_PHRASINGS = {
    "openai chat": (
        "This model's maximum context length is 16385 tokens. However, your messages resulted in 23273 tokens"
        " (22394 in the messages, 879 in the functions). Please reduce the length of the messages or"
        " functions."
    ),
    "openai gpt-5": (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 477469 tokens."
        " Please reduce the length of the messages."
    ),
    "openai responses": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "openai completion": (
        "This model's maximum context length is 4096 tokens. However, you requested 4222 tokens (1222 in the"
        " messages, 3000 in the completion). Please reduce the length of the messages or completion."
    ),
    "openai over the whole minute": (
        "Request too large for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Requested"
        " 30601. The input or output tokens must be reduced in order to run successfully. Visit"
        " https://platform.openai.com/account/rate-limits to learn more."
    ),
    "two numbers": "token limit exceeded: 200000 > 131072",
    "zhipu": "Prompt 超长",
    "in chinese": "输入长度超过模型最大长度限制",
    "groq": "Please reduce the length of the messages or completion.",
    "anthropic": "prompt is too long: 214850 tokens > 200000 maximum",
    "anthropic with output": (
        "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length or"
        " `max_tokens` and try again"
    ),
    "google": "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "xai": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "openrouter": (
        "This endpoint's maximum context length is 32768 tokens. However, you requested about 42832 tokens"
        ' (42832 of text input). Please reduce the length of either one, or use the "middle-out" transform to'
        " compress your prompt automatically."
    ),
    "llama.cpp": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "llama.cpp older": (
        "the request exceeds the available context size. try increasing the context size or enable context shift"
    ),
    "llama.cpp while generating": "Context size has been exceeded.",
    "llama-cpp-python": "Requested tokens (2285) exceed context window of 2048",
    "vllm": (
        "You passed 202753 input tokens and requested 0 output tokens. However, the model's context length is"
        " only 202752 tokens, resulting in a maximum input length of 202752 tokens."
    ),
    "vllm with output": (
        "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is"
        " 65536 tokens and your request has 57879 input tokens (8192 > 65536 - 57879). None"
    ),
    "sglang through litellm": (
        "litellm.BadRequestError: OpenAIException - Requested token count exceeds the model's maximum context"
        " length of 262144 tokens. You requested a total of 270128 tokens: 261936 tokens from the input"
        " messages and 8192 tokens for the completion."
    ),
    "bedrock": "Input is too long for requested model.",
    "cohere": (
        "too many tokens: size limit exceeded by 1213 tokens. Try using shorter or fewer inputs, or setting"
        " prompt_truncation='AUTO'."
    ),
    "cohere generate": (
        "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048 - received 6354."
        " Try using a shorter prompt or a smaller max_tokens value."
    ),
    "lm studio": (
        "The number of tokens to keep from the initial prompt is greater than the context length. Try to load"
        " the model with a larger context length, or provide a shorter input"
    ),
    "lm studio older": (
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with"
        " context length of only 32768 tokens, which is not enough. Try to load the model with a larger"
        " context length, or provide a shorter input."
    ),
    "lm studio engine": "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)",
    "together": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 6204 `inputs`"
        " tokens and 2047 `max_new_tokens`"
    ),
    "hugging face": "Input validation error: `inputs` must have less than 4096 tokens. Given: 4545",
    "kimi": "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)",
    "dashscope": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]",
    "volcano": "Input length 203743 exceeds the maximum length 202752",
    "sglang": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
    "vllm older": (
        "The prompt (total length 25938) is too long to fit into the model (context length 4096). Make sure"
        " that `max_model_len` is no smaller than the number of text tokens plus multimodal tokens."
    ),
    "tensorrt-llm": "Cannot process new request: Prompt length (5056) exceeds maximum sequence length (2048)",
    "azure models": "Request body too large for deepseek-r1 model. Max size: 4000 tokens.",
    "ds4": "Prompt has 300,000 tokens, but the configured context size is 131,072 tokens",
    "snowflake": "max tokens of 200000 exceeded",
    "siliconflow": "length of prompt_tokens (57535) must be less than max_seq_len (32768).",
    "siliconflow with output": "max_total_tokens (33802) must be less than or equal to max_seq_len (32768)",
    "mlc-llm": "Request prompt has 38726 tokens in total, larger than the model input length limit 8192.",
    "vllm decoder": "The decoder prompt (length 21535) is longer than the maximum model length of 16384",
}

CHECK_PHRASINGS = {
    "mistral": (
        "Prompt contains 300000 tokens and 0 draft tokens, too large for model with 131072 maximum context length"
    ),
    "deepseek": (
        "This model's maximum context length is 65536 tokens. However, you requested 66343 tokens (62247 in"
        " the messages, 4096 in the completion). Please reduce the length of the messages or completion."
    ),
    "ollama": "prompt too long; exceeded max context length by 4096 tokens",
    "minimax": "invalid params, context window exceeds limit",
    "copilot": "prompt token count of 93854 exceeds the limit of 90000",
    "litellm": (
        "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: OpenAIException"
    ),
    "openrouter with output": (
        "This endpoint's maximum context length is 163840 tokens. However, you requested about 243013 tokens"
        " (238917 of text input, 4096 in the output). Please reduce the length of either one, or use the"
        ' "middle-out" transform to compress your prompt automatically.'
    ),
    "openai text completion": (
        "This model's maximum context length is 4097 tokens, however you requested 4162 tokens (1090 in your"
        " prompt; 3072 for the completion). Please reduce your prompt; or completion length."
    ),
    "bedrock anthropic": "The model returned the following errors: prompt is too long: 200049 tokens > 200000 maximum",
    "cerebras": "Please reduce the length of the messages or completion. Current length is 8265 while limit is 8192",
    "vertex": (
        "Unable to submit request because the input token count is 33020 but the model only supports up to"
        " 32768. Reduce the input token count and try again. You can also use the CountTokens API to"
        " calculate prompt token count and billable characters."
    ),
    "groq over the whole minute": (
        "Request too large for model `llama-3.3-70b-versatile` in organization `org_x` service tier"
        " `on_demand` on tokens per minute (TPM): Limit 12000, Requested 14000, please reduce your message"
        " size and try again. Need more tokens? Upgrade to Dev Tier today"
    ),
    "poolside": "Input length 265330 exceeds the maximum allowed input length of 262144 tokens.",
    "sagemaker": "Input prompt (9762 tokens) is too long and exceeds limit of 8192",
    "gpt4all": "ERROR: The prompt size exceeds the context window size and cannot be processed.",
    "vllm newer": (
        "This model's maximum context length is 4096 tokens. However, you requested 2000 output tokens and"
        " your prompt contains at least 2097 input tokens, for a total of at least 4097 tokens. Please reduce"
        " the length of the input prompt or the number of requested output tokens."
    ),
    "replicate": "Your input is too long. Max input length is 4096 tokens, but you supplied 5441 tokens.",
    "salesforce": "Request input tokens exceed model token limit. Reduce the input size.",
}

RULE_LOOKALIKES = {
    "openai tokens per minute": (
        "Rate limit reached for gpt-4 in organization org-abc on tokens per min (TPM): Limit 10000, Used"
        " 8554, Requested 3082. Please try again in 9.816s. Visit"
        " https://platform.openai.com/account/rate-limits to learn more."
    ),
    "openai output": (
        "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you"
        " provided 200000."
    ),
    "anthropic output": (
        "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-20250514"
    ),
    "azure": (
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-08-01-preview"
        " have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 86400"
        " seconds."
    ),
    "anthropic tokens per minute": (
        "This request would exceed your organization's rate limit of 40,000 input tokens per minute. Please"
        " reduce the prompt length or the maximum tokens requested, or try again later."
    ),
    "openai string": (
        "Invalid 'tools[0].function.description': string too long. Expected a string with maximum length"
        " 1024, but got a string with length 1079 instead."
    ),
    "openai array": (
        "Invalid 'messages': array too long. Expected an array with maximum length 2048, but got an array"
        " with length 2049 instead."
    ),
    "anthropic image": (
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes"
    ),
    "anthropic body": "Request exceeds the maximum size",
    "google payload": "Request payload size exceeds the limit: 20971520 bytes.",
    "google quota": (
        "You exceeded your current quota, please check your plan and billing details. Quota exceeded for"
        " metric: generativelanguage.googleapis.com/generate_content_free_tier_input_token_count, limit:"
        " 250000"
    ),
    "bedrock throttling": "Too many tokens, please wait before trying again.",
    "vllm images": "At most 1 image(s) may be provided in one request.",
    "vllm output alone": (
        "'max_tokens' or 'max_completion_tokens' is too large: 200000. This model's maximum context length is"
        " 65536 tokens and your request has 12 input tokens (200000 > 65536 - 12)."
    ),
    "openrouter free prompt": (
        "Prompt tokens limit exceeded: 9126 > 2944. To increase, visit https://openrouter.ai/settings/credits"
        " and upgrade to a paid account"
    ),
    "per model": "Number of request tokens has exceeded your per-model limit",
    "this minute": "input token limit exceeded for this minute",
    "unavailable": "Service unavailable: too many tokens",
}

CHECK_LOOKALIKES = {
    "bedrock output": (
        "The maximum tokens you requested exceeds the model limit of 2048. Try again with a maximum tokens"
        " value that is lower than 2048."
    ),
    "hugging face output": "Input validation error: `max_new_tokens` must be <= 192. Given: 200",
    "deepseek output": "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    "bedrock field": (
        "Malformed input request: #/texts/41: expected maxLength: 2048, actual: 2148, please reformat your"
        " input and try again."
    ),
    "groq tokens per minute": (
        "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_x` service tier"
        " `on_demand` on tokens per minute (TPM): Limit 12000, Used 11000, Requested 2000. Please try again"
        " in 5s."
    ),
    "openai tokens per day": (
        "Rate limit reached for gpt-4o in organization org-x on tokens per day (TPD): Limit 100000, Used"
        " 99000, Requested 3000. Please try again in 28m48s."
    ),
    "anthropic rate": (
        "Number of request tokens has exceeded your per-minute rate limit"
        " (https://docs.anthropic.com/en/api/rate-limits); see the response headers for current usage. Please"
        " reduce the prompt length or the maximum tokens requested, or try again later."
    ),
    "anthropic image size": (
        "messages.3.content.5.image.source.base64.data: At least one of the image dimensions exceed max"
        " allowed size for many-image requests: 2000 pixels"
    ),
    "mistral images": "Too many images in request; the maximum number of images is 8",
    "anthropic pages": "messages.0.content.0.pdf.source.base64.data: A maximum of 100 PDF pages may be provided.",
    "nginx": "413 Request Entity Too Large",
    "express": "PayloadTooLargeError: request entity too large",
    "openai message string": (
        "Invalid 'messages[0].content': string too long. Expected a string with maximum length 10485760, but"
        " got a string with length 12000000 instead."
    ),
    "anthropic thinking": (
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at"
        " https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
    ),
    "openrouter credits": (
        "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can"
        " only afford 1462. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid"
        " account"
    ),
    "gemini cache": "Cached content is too small. total_token_count=500, min_total_token_count=4096",
    "gemini exhausted": "Resource exhausted. Please try again later.",
    "openai stop": (
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with"
        " length 5 instead."
    ),
    "image bytes": "Image size is 22.0MB, which exceeds the allowed limit of 20.0MB",
    "groq output": (
        "max_completion_tokens must be less than or equal to 40960, the maximum value for"
        " max_completion_tokens is less than the context_window for this model"
    ),
    "databricks output": (
        "max_tokens (10000) cannot exceed 8192. Please reduce the length of max output tokens generated."
    ),
    "moonshot tokens per day": "request reached organization TPD rate limit, current: 1506556, limit: 1500000",
    "anthropic long context": "The long context beta is not yet available for this subscription.",
    "anthropic extra usage": "Extra usage is required for long context requests.",
}


@pytest.mark.parametrize("text", RULE_PHRASINGS.values(), ids=RULE_PHRASINGS)
def test_phrasings_the_rules_were_written_from(text):
    assert is_context_overflow(text)


@pytest.mark.parametrize("text", CHECK_PHRASINGS.values(), ids=CHECK_PHRASINGS)
def test_phrasings_that_only_check(text):
    assert is_context_overflow(text)


@pytest.mark.parametrize("text", RULE_LOOKALIKES.values(), ids=RULE_LOOKALIKES)
def test_lookalikes_the_rules_were_written_from(text):
    assert not is_context_overflow(text)


@pytest.mark.parametrize("text", CHECK_LOOKALIKES.values(), ids=CHECK_LOOKALIKES)
def test_lookalikes_that_only_check(text):
    assert not is_context_overflow(text)


@pytest.mark.parametrize(
    "text",
    [
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 200000. This model's maximum context length is "
            "65536 tokens and your request has 12 input tokens (200000 > 65536 - 12)."
        ),
        (
            "This model's maximum context length is 4097 tokens. However, you requested 10000012 tokens "
            "(12 in the messages, 10000000 in the completion). Please reduce the length of the messages or completion."
        ),
        "input length and `max_tokens` exceed context limit: 12 + 250000 > 200000, decrease input length",
    ],
    ids=["vllm", "openai", "anthropic"],
)
def test_an_output_that_alone_is_over_the_limit_is_none(text):
    """A shorter input would not help there, whatever the code says."""
    assert not is_context_overflow(text, ["contextlengthexceeded"])


@pytest.mark.parametrize(
    "name", ["contextlengthexceeded", "exceedcontextsize", "contextwindowexceeded", "modelcontextwindowexceeded"]
)
def test_a_code_or_type_says_it_without_words(name):
    assert is_context_overflow("", ["invalidrequest", name])


@pytest.mark.parametrize("name", ["ratelimitexceeded", "requesttoolarge", "stringabovemaxlength", "invalidrequest"])
def test_other_codes_do_not_say_it(name):
    assert not is_context_overflow("no", [name])


def test_case_markup_and_grouped_digits_do_not_matter():
    assert is_context_overflow("PROMPT  is\n**too long**: 1,000,000 > 200_000")


@given(st.text())
def test_free_text_is_never_an_error(text):
    assert is_context_overflow(text) in {True, False}


@pytest.mark.parametrize(
    "piece", ["exceed ", "context ", "input tokens ", "too large: 1", "request too large for ", "( "]
)
def test_hostile_texts_are_judged_quickly(piece):
    start = time.process_time()
    is_context_overflow((piece * 4_000)[:4_000])
    assert time.process_time() - start < 5
