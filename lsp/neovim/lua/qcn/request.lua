--- Asking for a suggestion: one request at a time, and an answer only where the cursor still is.
local client = require("qcn.client")
local text = require("qcn.text")

local M = {}

local INVOKED, AUTOMATIC = 1, 2 -- InlineCompletionTriggerKind

local pending -- the one request that is waited for

local function place()
  local row, column = text.cursor()
  local buf = vim.api.nvim_get_current_buf()
  return table.concat({ buf, vim.api.nvim_buf_get_changedtick(buf), row, column }, ":")
end

--- Whether an answer is waited for.
function M.is_pending()
  return pending ~= nil
end

--- Nobody waits any more.
function M.cancel()
  local superseded = pending
  pending = nil
  if superseded and superseded.id and not superseded.client:is_stopped() then
    superseded.client:cancel_request(superseded.id)
  end
end

--- Nobody waits any more, unless the answer is for where the cursor still is.
function M.cancel_elsewhere()
  if pending and pending.place ~= place() then
    M.cancel()
  end
end

--- Ask for what comes at the cursor. `on_item(item, client)` hears the first suggestion unless text or cursor have
--- changed by then or another one is asked for. For the same place as the pending request this does nothing.
function M.ask(server, is_invoked, on_item)
  local here = place()
  if pending and pending.place == here and not is_invoked then
    return
  end
  M.cancel()
  local params = vim.lsp.util.make_position_params(0, server.offset_encoding)
  params.context = { triggerKind = is_invoked and INVOKED or AUTOMATIC }
  local mine = { client = server, place = here }
  pending = mine
  local is_sent, id = server:request(client.METHOD, params, function(_, result)
    if pending ~= mine then
      return
    end
    pending = nil
    local items = type(result) == "table" and (result.items or result) or {}
    if items[1] and place() == here then
      on_item(items[1], server)
    end
  end, vim.api.nvim_get_current_buf())
  mine.id = id
  if not is_sent and pending == mine then
    pending = nil
  end
end

return M
