--- "Fix this diagnostic": the server's code action, for diagnostics of all sources.
local client = require("qcn.client")
local trust = require("qcn.trust")

local M = {}

local function say(text, level)
  vim.notify("qcn: " .. text, level or vim.log.levels.INFO)
end

local function finished(err, result)
  if err then
    local hint = type(err.data) == "table" and err.data.hint
    say(err.message .. (hint and hint ~= "" and ("; " .. hint) or ""), vim.log.levels.ERROR)
  elseif result and result.ending then
    say(result.ending .. (result.applied and ", the edit is made" or ", nothing was changed"))
  end
end

local function run(server, buf, action)
  if action then
    say("working on it; `:QcnStatus` shows more")
    server:exec_cmd(action.command, { bufnr = buf }, finished)
  end
end

local function choose(server, buf, actions)
  if #actions < 2 then
    return run(server, buf, actions[1])
  end
  local function title(action)
    return action.title
  end
  vim.ui.select(actions, { prompt = "Fix", format_item = title }, function(action)
    run(server, buf, action)
  end)
end

-- Ask whether the server's folder is trusted; if so, go on as soon as its next server, which may run things, is there.
local function trust_first(server, buf)
  if not trust.ask(server.root_dir) then
    return say("the folder is not trusted, so nothing in it is run; see `:help qcn-trust`", vim.log.levels.WARN)
  end
  vim.api.nvim_create_autocmd("LspAttach", {
    buffer = buf,
    callback = function(event)
      local next_one = vim.lsp.get_client_by_id(event.data.client_id)
      if next_one and next_one.name == client.NAME then
        vim.schedule(M.diagnostic)
        return true
      end
    end,
  })
  client.restart(server)
end

--- Offer a fix of what is diagnosed on the cursor's line; with several, let the user choose.
function M.diagnostic()
  local buf, row = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)[1] - 1
  local server, found = client.of(buf), vim.diagnostic.get(buf, { lnum = row })
  if not server then
    return say("no server for this buffer; see `:checkhealth qcn`", vim.log.levels.WARN)
  elseif #found == 0 then
    return say("no diagnostic on this line")
  elseif server.root_dir and not client.is_trusted(server) then
    return trust_first(server, buf)
  end
  local params = vim.lsp.util.make_range_params(0, server.offset_encoding)
  params.context = { diagnostics = vim.lsp.diagnostic.from(found), only = { "quickfix" } }
  server:request("textDocument/codeAction", params, function(err, actions)
    if err or not actions or #actions == 0 then
      return say(err and err.message or "nothing is offered here: is the file in a folder of the workspace?")
    end
    choose(server, buf, actions)
  end, buf)
end

return M
