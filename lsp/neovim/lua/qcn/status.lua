--- What goes on, for people.
local client = require("qcn.client")
local config = require("qcn.config")
local request = require("qcn.request")

local M = {}

--- For a statusline: empty without a server, "qcn off", "qcn…" while a suggestion is waited for, else "qcn".
function M.line()
  if not client.of(0) then
    return ""
  elseif not config.current.enabled then
    return "qcn off"
  end
  return request.is_pending() and "qcn…" or "qcn"
end

--- The answer of `qcn/status` as lines.
function M.lines(status)
  local model = status.model or {}
  local lines = {
    ("qcn-agent %s, process %d, %d clients"):format(status.version, status.pid, status.num_clients or 0),
    ("model: %s %s"):format(model.state or "?", model.path or ""),
  }
  if model.reason then
    lines[#lines + 1] = ("reason: %s; %s"):format(model.reason, model.hint or "")
  end
  for _, folder in ipairs(status.runs or {}) do
    lines[#lines + 1] = "works in " .. folder
  end
  lines[#lines + 1] = "ghost text: " .. (config.current.enabled and "on" or "off")
  return lines
end

--- What a server may do in its folder.
function M.trust(server)
  if not server.root_dir then
    return "no folder: no fixes"
  end
  local folder = vim.fn.fnamemodify(server.root_dir, ":~")
  return folder .. (client.is_trusted(server) and " is trusted: fixes are offered" or " is not trusted: no fixes")
end

--- Ask the daemon and show its answer.
function M.show()
  local server = client.of(0)
  if not server then
    return vim.notify("qcn: no server for this buffer; see `:checkhealth qcn`", vim.log.levels.WARN)
  end
  server:request("qcn/status", vim.empty_dict(), function(err, status)
    if err then
      return vim.notify("qcn: " .. err.message, vim.log.levels.WARN)
    end
    local lines = M.lines(status)
    lines[#lines + 1] = M.trust(server)
    vim.lsp.util.open_floating_preview(lines, "", { border = "rounded" })
  end, 0)
end

return M
