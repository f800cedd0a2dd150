--- An edit of the server: shown as a diff, made when the user says so, one step to undo in each buffer.
local config = require("qcn.config")

local M = {}

local function lines_of(buf)
  return table.concat(vim.api.nvim_buf_get_lines(buf, 0, -1, false), "\n") .. "\n"
end

local function loaded(uri)
  local buf = vim.uri_to_bufnr(uri)
  vim.fn.bufload(buf)
  return buf
end

-- The diff of one document's change; `root` is a folder or nil.
local function diff_of(change, encoding, root)
  local buf = loaded(change.textDocument.uri)
  local scratch = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(scratch, 0, -1, false, vim.api.nvim_buf_get_lines(buf, 0, -1, false))
  vim.lsp.util.apply_text_edits(change.edits, scratch, encoding)
  local diff = vim.diff(lines_of(buf), lines_of(scratch))
  vim.api.nvim_buf_delete(scratch, { force = true })
  local name = vim.api.nvim_buf_get_name(buf)
  name = root and vim.fs.relpath(root, name) or name
  return ("--- %s\n+++ %s\n%s"):format(name, name, diff)
end

local function changes_of(edit)
  return vim.tbl_filter(function(change)
    return change.edits ~= nil
  end, edit.documentChanges or {})
end

-- Neovim itself would leave such a buffer alone and say that it had changed it.
local function is_stale(change)
  local version = change.textDocument.version
  local known = vim.lsp.util.buf_versions[loaded(change.textDocument.uri)]
  return type(version) == "number" and version >= 0 and known ~= nil and known ~= version
end

local function is_wanted(params, encoding, root)
  local diffs = vim.tbl_map(function(change)
    return diff_of(change, encoding, root)
  end, changes_of(params.edit))
  local lines = vim.split(vim.trim(table.concat(diffs, "")), "\n", { plain = true })
  local _, window = vim.lsp.util.open_floating_preview(lines, "", { border = "rounded", focusable = true })
  vim.bo[vim.api.nvim_win_get_buf(window)].syntax = "diff"
  vim.cmd.redraw()
  local choice = vim.fn.confirm((params.label or "qcn-agent") .. ": make this edit?", "&Yes\n&No", 1)
  if vim.api.nvim_win_is_valid(window) then
    vim.api.nvim_win_close(window, true)
  end
  return choice == 1
end

--- Handles `workspace/applyEdit`.
function M.apply(_, params, context)
  local server = assert(vim.lsp.get_client_by_id(context.client_id))
  if vim.iter(changes_of(params.edit)):any(is_stale) then
    return { applied = false, failureReason = "the buffer has changed meanwhile" }
  end
  if config.current.confirm and not is_wanted(params, server.offset_encoding, server.root_dir) then
    return { applied = false, failureReason = "the user has declined" }
  end
  local is_done, reason = pcall(vim.lsp.util.apply_workspace_edit, params.edit, server.offset_encoding)
  return { applied = is_done, failureReason = not is_done and tostring(reason) or nil }
end

return M
