-- Asks the limiter about a request by HAProxy's own HTTP client: `http-request lua.limit URL`.
--
-- It sets txn.limit_status, which is 429 where the request may not pass, and what a client should see of the answer:
-- txn.limit_retry_after, txn.limit_left, txn.limit_policy and txn.limit_verdict.

local passed_on = { "authorization", "x-api-key" }

local shown = {
    limit_retry_after = "retry-after",
    limit_left = "ratelimit",
    limit_policy = "ratelimit-policy",
    limit_verdict = "x-ratelimit-verdict",
}

-- The last line of a header, which the limiter goes by. HAProxy counts lines from 0.
local function last(values)
    return values and values[#values]
end

core.register_action("limit", { "http-req" }, function(txn, url)
    local own = txn.http:req_get_headers()
    local fields = {
        -- Set here, whatever the client sent.
        ["x-forwarded-for"] = { txn.f:src() },
        ["x-forwarded-method"] = { txn.f:method() },
        ["x-forwarded-host"] = { last(own["host"]) or "" },
        ["x-forwarded-uri"] = { txn.f:url() },
    }
    for _, name in ipairs(passed_on) do
        fields[name] = own[name] and { last(own[name]) }
    end
    local answer = core.httpclient():get({ url = url, headers = fields, timeout = 1000 })
    txn:set_var("txn.limit_status", answer.status)
    for variable, name in pairs(shown) do
        local value = last((answer.headers or {})[name])
        if value then
            txn:set_var("txn." .. variable, value)
        end
    end
end, 1)
