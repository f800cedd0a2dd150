--- Which folders the user trusts: those of the setting, and those of Neovim's own list (|trust|). Of any other folder
--- nothing is run: it gets ghost text, and no fixes.
local config = require("qcn.config")

local M = {}

local function real(path)
  return vim.uv.fs_realpath(vim.fs.normalize(path))
end

local function is_in(folder, path)
  local above = real(folder)
  return above ~= nil and vim.fs.relpath(above, path) ~= nil
end

-- Neovim itself offers no look at its list that does not ask the user.
local function is_on_list(path)
  local file = io.open(vim.fs.joinpath(vim.fn.stdpath("state"), "trust"), "r")
  local list = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return vim.list_contains(vim.split(list, "\n", { plain = true }), "directory " .. path)
end

--- Whether a folder is trusted; asks nobody. Without a folder there is nothing to trust.
function M.has(root)
  local path = root and real(root)
  if not path then
    return false
  end
  local function holds(folder)
    return is_in(folder, path)
  end
  return vim.iter(config.current.trusted):any(holds) or is_on_list(path)
end

--- The same, but ask the user if nothing is known. Neovim keeps the answer.
function M.ask(root)
  if M.has(root) then
    return true
  end
  local is_allowed = vim.secure.read(root) == true
  vim.cmd.redraw() -- the question is gone, so that what is said next need not wait for Enter
  return is_allowed
end

--- Forget what the user has answered for a folder.
function M.forget(root)
  vim.secure.trust({ action = "remove", path = root })
end

--- Whether `program` lies in a folder that is not trusted: such a folder names no program to run, by PATH or otherwise.
function M.bars(root, program)
  local place = real(vim.fs.dirname(program))
  return root ~= nil and place ~= nil and is_in(root, place) and not M.has(root)
end

return M
